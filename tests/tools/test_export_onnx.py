"""An exported classifier in onnxruntime."""

import numpy as np
import onnxruntime
import torch
from helpers.commands import BASELINE, ROOT
from helpers.in_process import run_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal.analysis import write_alpha_config
from mmcausal.models import enable_tde
from mmcausal.registry import MODELS


def test_exported_file_runs_in_onnxruntime(tmp_path):
    config = 'configs/cifar100_lt/deconfound-tde_r32_ir100.py'
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(config)
    classifier = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    classifier.head.fc(torch.rand(4, 128))
    classifier.head.fc.update_direction(0.)
    torch.save(classifier.state_dict(), tmp_path / 'trained.pth')
    output = run_tool('deployment/export_onnx.py', config, tmp_path / 'trained.pth',
                      tmp_path / 'tde.onnx', '--image-size', '32', '32')
    assert 'alpha 1.5: logits of onnxruntime and PyTorch differ by at most' in output
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32)).astype(np.float32)
    logits = onnxruntime.InferenceSession(str(tmp_path / 'tde.onnx')).run(None, dict(images=images))[0]
    inputs = classifier.data_preprocessor(dict(inputs=list(torch.from_numpy(images))))['inputs']
    with torch.no_grad():
        expected = classifier.eval()(inputs, mode='tensor')
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_export_takes_the_alpha_of_the_config_wherever_it_is(tmp_path):
    """In a stock model's wrapper, or in the layer of a ClassifierHead."""
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(BASELINE).model)
    layer = enable_tde(model, 0.7)
    layer.observe(torch.rand(9, layer.in_features))
    layer.update_direction(0.)
    torch.save(model.state_dict(), tmp_path / 'trained.pth')
    write_alpha_config(BASELINE, 0.7, tmp_path / 'wrapper.py')
    (tmp_path / 'layer.py').write_text(
        f"_base_ = '{ROOT / BASELINE}'\nmodel = dict(head=dict(type='mmcausal.ClassifierHead', classifier=dict(type="
        "'mmcausal.TDELinear', bias=True, alpha=0.7)))\n")
    images = torch.rand(3, 1, 8, 8) * 255
    with torch.no_grad():
        expected = model.eval()((images - 127.5) / 127.5)
    for name in ('wrapper', 'layer'):
        output = run_tool('deployment/export_onnx.py', tmp_path / f'{name}.py', tmp_path / 'trained.pth',
                          tmp_path / f'{name}.onnx', '--image-size', '8', '8', '--channels', '1')
        assert 'alpha 0.7: logits' in output
        session = onnxruntime.InferenceSession(str(tmp_path / f'{name}.onnx'))
        np.testing.assert_allclose(session.run(None, dict(images=images.numpy()))[0], expected, atol=1e-4)


def test_large_logits_may_differ_by_their_rounding(tmp_path):
    """Logits of about 1e5, as an untrained network can have them, differ by more than the tolerance of small ones."""
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(BASELINE).model)
    with torch.no_grad():
        model.head.fc.weight.mul_(1e6)
    torch.save(model.state_dict(), tmp_path / 'large.pth')
    output = run_tool('deployment/export_onnx.py', BASELINE, tmp_path / 'large.pth', tmp_path / 'large.onnx',
                      '--image-size', '8', '8', '--channels', '1')
    assert float(output.split()[-1]) > 1e-4
