#!/usr/bin/env bash
# Set up classification and run the main job: see tools/quickstart.py. Arguments go to that script.
# usage: tools/quickstart.sh [--seeds SEED...] [--work-dir FOLDER]
set -euo pipefail
for argument in "$@"; do  # before the set-up, which takes minutes
    case $argument in
        --seeds | --seeds=* | --work-dir | --work-dir=*) ;;
        -h | --help) sed -n 's/^# usage/usage/p' "${BASH_SOURCE[0]}"; exit ;;
        --*) printf "unknown argument '%s'\n" "$argument" >&2; sed -n 's/^# usage/usage/p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/setup_env.sh cls
exec "${MMCAUSAL_VENV:-.venv}/bin/python" tools/quickstart.py "$@"
