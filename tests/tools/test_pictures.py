"""Plots of a trained classifier, as users draw them, and the features stored for them."""

import numpy as np
import torch
from helpers.commands import BASELINE, ROOT
from helpers.in_process import run_tool
from mmengine.config import Config
from mmengine.runner import Runner

from mmcausal.visualization import PICTURES


def test_stored_features_are_those_of_a_test_to_the_last_bit(linear_checkpoint, tmp_path):
    run_tool('analysis/pictures.py', BASELINE, linear_checkpoint, '--split', 'test', '--features',
             tmp_path / 'store', '--out-dir', tmp_path / 'pictures')
    names = {path.stem for path in (tmp_path / 'pictures').iterdir()}
    assert names == set(PICTURES) - {'direction_cosines', 'decomposition'}  # a stock classifier has no direction
    cfg = Config.fromfile(ROOT / BASELINE)
    cfg.work_dir, cfg.load_from = str(tmp_path), str(linear_checkpoint)
    runner, inputs, threads = Runner.from_cfg(cfg), [], torch.get_num_threads()
    runner.model.head.fc.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    torch.set_num_threads(1)  # as the tool's
    try:
        runner.test()
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(np.load(tmp_path / 'store' / 'features.npy'), torch.cat(inputs).numpy())
