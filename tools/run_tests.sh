#!/usr/bin/env bash
# Set up everything and run the tests. Arguments go to pytest; MMCAUSAL_DATA names the folder of real test data.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/setup_env.sh all
# Files of tests side by side. One thread each: processes of several threads would only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "${MMCAUSAL_VENV:-.venv}/bin/python" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
