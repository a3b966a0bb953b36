#!/usr/bin/env bash
# Set up everything and run the tests. Arguments go to pytest; MMCAUSAL_DATA names the folder of real test data.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/setup_env.sh all
exec "${MMCAUSAL_VENV:-.venv}/bin/python" -m pytest "$@"
