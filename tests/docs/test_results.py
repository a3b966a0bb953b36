"""Table 3 of docs/results.md is that of the result files, and no published figure stands beside another setting."""
import json
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers.commands import ROOT

TOOL = runpy.run_path(str(ROOT / 'tools' / 'compare_methods.py'))
TABLES = [path for path in sorted((ROOT / 'docs' / 'results').glob('*.json'))
          if any('config' in row for row in json.loads(path.read_text()).get('rows', []))]


def test_table_3_is_that_of_the_result_files():
    command = [sys.executable, ROOT / 'benchmarks' / 'table3.py']
    printed = subprocess.run(command, capture_output=True, encoding='utf-8', check=True).stdout
    cells, alphas = printed.strip().split('\n\n')
    page = (ROOT / 'docs' / 'results.md').read_text(encoding='utf-8')
    assert len(cells.splitlines()) == 2 + 12 and cells in page and alphas in page


@pytest.mark.parametrize('path', TABLES, ids=lambda path: path.stem)
def test_published_figures_are_beside_their_own_setting(path):
    content = json.loads(path.read_text())
    args = SimpleNamespace(cfg_options=content.get('options', {}), epochs=None)
    for row in content['rows']:
        if row.get('published') is not None:
            assert content['epochs'] == 'those of the configs'
            config = ROOT / 'configs' / f'{row["config"]}.py'
            assert row['published'] == TOOL['published'](config, args)
