"""A few of the kills of ``benchmarks/kills.py``."""
import json
import os
import sys

import pytest
from helpers.commands import run


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='copies its process')
def test_a_killed_process_keeps_what_it_has_done(tmp_path):
    run(sys.executable, 'benchmarks/kills.py', '--kills', 2, '--subjects', 'features', 'checkpoints of a classifier',
        '--work-dir', tmp_path / 'work', '--out', tmp_path / 'kills.json')
    for row in json.loads((tmp_path / 'kills.json').read_text())['rows']:
        assert row['kills'] == 2 and row['lost'] == row['result_differs'] == 0
