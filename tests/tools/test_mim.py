"""The package from OpenMMLab's command line, and its configs as bases of a user's own."""
import sys

import pytest
from helpers.commands import BASELINE, ROOT, run
from helpers.configs import load
from mmengine.config import Config

import mmcausal


@pytest.mark.parametrize('tool', ['train', 'test'])
@pytest.mark.parametrize('option', ['--help', '-h'])
def test_help_is_the_hosts(tool, option):
    output = run(sys.executable, f'tools/{tool}.py', option)
    assert output.startswith(f'usage: {tool}.py') and '--work-dir' in output and '--cfg-options' in output


def test_mim_finds_configs_tools_and_trainings(linear_checkpoint, tmp_path):
    config = 'linear_small_ir100_digits_lt'
    assert f'config id: {config}' in run('mim', 'search', 'mmcausal', '--config', config)
    run('mim', 'run', 'mmcausal', 'publish_checkpoint', linear_checkpoint, 'digits', '--out-dir', tmp_path)
    assert len(list(tmp_path.glob('digits-*.pth'))) == 1
    run('mim', 'train', 'mmcausal', BASELINE, '--work-dir', tmp_path / 'run', '--cfg-options', 'train_cfg.max_epochs=1')
    run('mim', 'test', 'mmcausal', BASELINE, '--checkpoint', tmp_path / 'run' / 'epoch_1.pth', '--work-dir', tmp_path)
    assert run(sys.executable, 'tools/train.py', status=1).startswith('usage: ')


def test_a_config_of_the_package_is_the_base_of_ones_own(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text("_base_ = __import__('mmcausal').config_path('digits_lt/linear_small_ir100.py')\n"
                      'train_cfg = dict(max_epochs=3)\n')
    own, base = Config.fromfile(config), load(ROOT / BASELINE)
    assert own.train_cfg.max_epochs == 3 and own.model == base.model
    with pytest.raises(ValueError, match="must be one of the .*mean 'digits_lt/linear_small_ir100.py'"):
        mmcausal.config_path('digits_lt/linear_smal_ir100.py')
    for name in ('/etc/hostname', '../README.md', ''):
        with pytest.raises(ValueError, match='must be one of the'):
            mmcausal.config_path(name)
