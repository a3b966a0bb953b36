"""Tools refuse a checkpoint of other classes in one sentence, before the network runs."""
import sys

import pytest
import torch
from helpers.commands import DIGITS, IMAGENET_LT, run
from helpers.data import write_image
from helpers.noise import noise_runner
from helpers.runners import save_untrained_resnet10, shapes_cfg
from mmengine.runner import Runner

DIGIT_SENTENCE = 'head.fc.weight has shape (9, 256) here, but (10, 256) in the checkpoint'
FEWER = ['--cfg-options', 'model.head.num_classes=9']


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """The checkpoint of a classifier of ten classes, with a head direction."""
    work_dir = tmp_path_factory.mktemp('ten')
    noise_runner(work_dir, '0123456789').train()
    return work_dir / 'epoch_1.pth'


def refusal(*command):
    output = run(sys.executable, *command, status=1)
    assert 'Traceback' not in output and 'Features of' not in output and 'Proposals of' not in output
    return output.splitlines()[-1]


def test_tools_for_classifiers(checkpoint, tmp_path):
    sweep = ['tools/analysis/sweep_alpha.py', DIGITS, checkpoint, '--features', tmp_path / 'store']
    assert DIGIT_SENTENCE in refusal(*sweep, *FEWER)  # report.py and pictures.py load as it does
    moved = refusal(*sweep, '--cfg-options', 'val_dataloader.dataset.metainfo.classes=1,0,2,3,4,5,6,7,8,9')
    assert "'1' is class 0 here, but class 1 in the checkpoint" in moved and not (tmp_path / 'store').exists()
    export = ['tools/deployment/export_onnx.py', DIGITS, checkpoint, tmp_path / 'x.onnx', '--image-size', '8', '8']
    assert DIGIT_SENTENCE in refusal(*export, *FEWER)
    assert not list(tmp_path.iterdir())


def test_the_demo(tmp_path):
    write_image(tmp_path / 'image.jpg')
    checkpoint = save_untrained_resnet10(tmp_path / 'r10.pth')
    line = refusal('tools/demo.py', tmp_path / 'image.jpg', IMAGENET_LT, checkpoint, '--out', tmp_path / 'demo.png',
                   '--cfg-options', 'model.head.num_classes=5')
    assert 'head.fc.weight has shape (5, 512) here, but (1000, 512) in the checkpoint' in line


def test_the_sweep_of_a_detector(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path)
    state = Runner.from_cfg(cfg).model.state_dict()
    for name in [name for name in state if name.endswith('fc_cls.weight')]:
        state[name] = state[name][1:]
        state[name.replace('weight', 'mean_feature')].fill_(1)
    torch.save(dict(state_dict=state), tmp_path / 'fewer.pth')
    cfg.dump(tmp_path / 'tde.py')
    line = refusal('tools/analysis/sweep_detector_alpha.py', tmp_path / 'tde.py', tmp_path / 'fewer.pth',
                   '--i-know-this-is-test')
    assert 'roi_head.bbox_head.0.fc_cls.weight has shape (25, ' in line and 'You can fine-tune from it' in line
