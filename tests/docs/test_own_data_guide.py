"""The guide for your own data: its configs load, are short, and its tools and options exist."""
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.commands import ROOT
from mmengine.config import Config

GUIDE = (ROOT / 'docs' / 'own-data.md').read_text(encoding='utf-8')
CONFIGS = dict(re.findall(r"cat > work_dirs/own/(\w+)\.py <<'END'\n(.*?)END\n", GUIDE, flags=re.DOTALL))
EACH = re.DOTALL | re.MULTILINE
COMMANDS = [command.replace('\\\n', ' ') for block in re.findall(r'^```(?:bash)?\n(.*?)^```', GUIDE, EACH)
            for command in re.findall(r'^python .*?(?<!\\)$', block, EACH)]


@pytest.fixture
def written(tmp_path):
    """Write the configs as the page does."""
    for name, text in CONFIGS.items():
        (tmp_path / f'{name}.py').write_text(text, encoding='utf-8')
    (tmp_path / 'deconfound.py').write_text(CONFIGS['baseline'].replace('linear_r32', 'deconfound_r32'))
    return tmp_path


def test_configs_load_and_are_short(written):
    assert CONFIGS.keys() == {'baseline', 'lists', 'detector'}
    assert all(len(text.splitlines()) <= 12 for text in CONFIGS.values())
    baseline, deconfound, lists, detector = (
        Config.fromfile(written / f'{name}.py') for name in ('baseline', 'deconfound', 'lists', 'detector'))
    assert baseline.model.head.type == 'LinearClsHead' and deconfound.model.head.type == 'mmcausal.DeconfoundHead'
    assert baseline.model.head.num_classes == 10 and baseline.val_dataloader.dataset.val_per_class == 10
    assert {lists[f'{split}_dataloader'].dataset.type for split in ('train', 'val', 'test')} == {'mmcausal.ImageList'}
    assert detector.model.roi_head.bbox_head.num_classes == detector.model.roi_head.mask_head.num_classes == 3


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command.split()[1])
def test_tools_and_their_options_exist(command):
    _, tool, *words = shlex.split(command)
    texts = [(ROOT / tool).read_text(encoding='utf-8')]
    if 'run_host_script' in texts[0]:  # which leaves the options to the script of the host
        texts = [(Path(find_spec(host).origin).parent / '.mim' / tool).read_text(encoding='utf-8')
                 for host in ('mmpretrain', 'mmdet')]
    arguments = (ROOT / 'tools' / 'analysis' / 'arguments.py').read_text(encoding='utf-8')
    for option in (word for word in words if word.startswith('--')):
        assert all(f"'{option}'" in text + arguments for text in texts)
