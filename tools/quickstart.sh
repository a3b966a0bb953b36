#!/usr/bin/env bash
# Set up classification and run the main job: see tools/quickstart.py. Arguments go to that script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/setup_env.sh cls
exec "${MMCAUSAL_VENV:-.venv}/bin/python" tools/quickstart.py "$@"
