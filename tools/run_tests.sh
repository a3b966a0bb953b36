#!/usr/bin/env bash
# Set up everything and run the tests.
#
# usage: tools/run_tests.sh [classic|modern] [ARGUMENTS OF PYTEST]
#
# Environment: MMCAUSAL_DATA, the folder of real test data; MMCAUSAL_VENV, the folder instead of .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
stack=()
case ${1:-} in classic | modern) stack=("$1"); shift ;; esac
tools/setup_env.sh ${stack[@]+"${stack[@]}"} all
# Files of tests side by side. One thread each: processes of several threads would only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "${MMCAUSAL_VENV:-.venv}/bin/python" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
