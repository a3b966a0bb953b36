"""An exported classifier in onnxruntime."""
import sys

import numpy as np
import onnxruntime
import torch
from helpers.commands import run
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal.registry import MODELS


def test_exported_file_runs_in_onnxruntime(tmp_path):
    config = 'configs/cifar100_lt/deconfound-tde_r32_ir100.py'
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(config)
    classifier = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    classifier.head.fc(torch.rand(4, 128))
    classifier.head.fc.update_direction(0.)
    torch.save(classifier.state_dict(), tmp_path / 'trained.pth')
    output = run(sys.executable, 'tools/deployment/export_onnx.py', config, tmp_path / 'trained.pth',
                 tmp_path / 'tde.onnx', '--image-size', '32', '32')
    assert 'differ by at most' in output
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32)).astype(np.float32)
    logits = onnxruntime.InferenceSession(str(tmp_path / 'tde.onnx')).run(None, dict(images=images))[0]
    inputs = classifier.data_preprocessor(dict(inputs=list(torch.from_numpy(images))))['inputs']
    with torch.no_grad():
        expected = classifier.eval()(inputs, mode='tensor')
    np.testing.assert_allclose(logits, expected, atol=1e-4)
