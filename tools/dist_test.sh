#!/usr/bin/env bash
# usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
usage() { { [ $# = 0 ] || printf '%s\n' "$*"; sed -n 's/^# usage/usage/p' "$0"; } >&2; exit 2; }
[ $# -ge 3 ] || usage
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
[ -f "$CHECKPOINT" ] || [[ $CHECKPOINT == *://* ]] || usage "CHECKPOINT must be a file, but got '$CHECKPOINT'"
[ -f "$CONFIG" ] || usage "CONFIG must be a file, but got '$CONFIG'"
case $GPUS in '' | *[!0-9]* | 0*) usage "GPUS must be a number of at least 1, but got '$GPUS'" ;; esac
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
PORT=${PORT:-29500}
MASTER_ADDR=${MASTER_ADDR:-"127.0.0.1"}

python -m torch.distributed.run \
    --nnodes="$NNODES" \
    --node_rank="$NODE_RANK" \
    --master_addr="$MASTER_ADDR" \
    --nproc_per_node="$GPUS" \
    --master_port="$PORT" \
    "$(dirname "$0")/test.py" \
    "$CONFIG" \
    "$CHECKPOINT" \
    --launcher pytorch "${@:4}"
