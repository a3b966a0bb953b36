"""The report of a work directory, as users write it."""
import runpy
import sys

import pytest
import torch
from helpers.commands import BASELINE, ROOT
from helpers.in_process import run_tool


def test_report_of_a_work_directory(two_rank_checkpoint, tmp_path):
    tool = ['analysis/report.py', two_rank_checkpoint.parent, '--features', tmp_path / 'store']
    output = run_tool(*tool, '--split', 'test', '--alpha', '0.5', '--out', tmp_path / 'report.html')
    assert f'Report: {tmp_path}/report.html' in output
    page = (tmp_path / 'report.html').read_text()
    assert page.count('src="data:image/png') == 9 and 'TDE, alpha 0.5' in page and 'few' in page
    assert '"train images", "test images", "total effect", "TDE, alpha 0.5", "gain"]' in page
    assert 'must hold the config of one training' in run_tool(tool[0], tmp_path, status=1)


def test_report_takes_the_alpha_of_the_config(two_rank_checkpoint, tmp_path):
    tool = ['analysis/report.py', two_rank_checkpoint.parent, '--features', tmp_path / 'store',
            '--out', tmp_path / 'report.html', '--overwrite']
    headings = '"train images", "test images", "total effect"'
    run_tool(*tool)
    assert f'{headings}, "TDE, alpha 1", "gain"]' in (tmp_path / 'report.html').read_text()
    output = run_tool(*tool, '--cfg-options', 'model.head.alpha=0')
    assert 'Alpha is 0' in output and f'{two_rank_checkpoint} --write-config OUT.py' in output
    page = (tmp_path / 'report.html').read_text()
    assert f'{headings}]' in page and 'Accuracy of the shot groups over alpha' in page  # the curve, without a choice
    run_tool(*tool, '--alpha', 'auto')
    mean_cosine = torch.load(two_rank_checkpoint, weights_only=False)['state_dict']['head.fc.mean_cosine']
    assert f'{headings}, "TDE, alpha {1 / float(mean_cosine):.4g}", "gain"]' in (tmp_path / 'report.html').read_text()


def test_report_without_a_direction(linear_checkpoint, tmp_path):
    output = run_tool('analysis/report.py', linear_checkpoint.parent, '--features', tmp_path / 'store',
                      '--config', BASELINE, '--checkpoint', linear_checkpoint, '--out', tmp_path / 'report.html')
    assert 'no head direction' in output
    page = (tmp_path / 'report.html').read_text()
    assert '"train images", "test images", "total effect"]' in page and 'over alpha' not in page


@pytest.mark.parametrize('tool', ['report.py', 'pictures.py'])
def test_missing_package_is_named_before_the_features(tool, linear_checkpoint, tmp_path, monkeypatch):
    arguments = {'report.py': [linear_checkpoint.parent, '--config', BASELINE, '--checkpoint', linear_checkpoint,
                               '--out', tmp_path / 'report.html'],
                 'pictures.py': [BASELINE, linear_checkpoint, '--out-dir', tmp_path]}[tool]
    folder = ROOT / 'tools' / 'analysis'
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr('mmcausal.hosts.is_installed', lambda package: package != 'torchmetrics')
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments), '--features', str(tmp_path / 'store')])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(folder / tool), run_name='__main__')
    assert end.value.code == f'{tool} needs torchmetrics. Run: pip install torchmetrics'
    assert not any(tmp_path.iterdir())
