"""The sweep of a detector's alpha without background exemption, as a user runs it."""
import json
import sys

import pytest
import torch
from mmengine.runner import Runner
from test_detection_run import shapes_cfg
from test_tools import run

from mmcausal.datasets.shapes import make_shapes_dataset

FIGURES = ('AP', 'APr', 'APc', 'APf')


def test_without_background_exemption(tmp_path):
    shapes = tmp_path / 'shapes'
    make_shapes_dataset(shapes, num_train=24, num_val=24, imbalance_ratio=10, image_size=160)
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path / 'work')
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.update(metric='bbox', iou_thrs=0.01)  # or nothing untrained would ever be found
    cfg.model.test_cfg.rcnn.update(score_thr=0., max_per_img=300)
    cfg.dump(tmp_path / 'tde.py')
    runner = Runner.from_cfg(cfg)
    for head in runner.model.roi_head.bbox_head:
        head.fc_cls.observe(torch.rand(4, head.fc_cls.in_features), torch.ones(4, dtype=torch.bool))
        head.fc_cls.update_direction(0.)
    torch.save(runner.model.state_dict(), tmp_path / 'random.pth')

    sweep = [sys.executable, 'tools/analysis/sweep_detector_alpha.py', tmp_path / 'tde.py', tmp_path / 'random.pth',
             '--i-know-this-is-test', '--features', tmp_path / 'store', '--dtype', 'float32', '--alphas', '0', '1.5']
    run(*sweep, '--out', tmp_path / 'exempt.json')
    output = run(*sweep, '--out', tmp_path / 'not_exempt.json', '--no-exempt-background')
    assert 'Proposals of' not in output and (tmp_path / 'not_exempt.png').stat().st_size > 10000
    exempt, not_exempt = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('exempt', 'not_exempt'))
    assert exempt['exempt_background'] == [True] * 3 and not_exempt['exempt_background'] == [False] * 3
    assert set(not_exempt['auto_alphas']) == {'auto of stage 0', 'auto of stage 1', 'auto of stage 2'}
    assert not_exempt['chosen']['best'] in (0, 1.5) and not_exempt['identity'] == exempt['identity']
    assert exempt['points'][0] == not_exempt['points'][0] and exempt['points'][1] != not_exempt['points'][1]

    cfg.load_from = str(tmp_path / 'random.pth')
    cfg.model.roi_head.classifier.update(alpha=1.5, exempt_background=False)
    cfg.experiment_name = 'single'
    single = Runner.from_cfg(cfg).test()
    for figure in FIGURES:
        value = single[f'lvis/bbox_{figure}']
        assert not_exempt['points'][1][figure] == (value if value < 0 else pytest.approx(100 * value, abs=1e-4))

    output = run(*sweep, '--num-images', '4', status=1)
    assert 'holds features of another dataset' in output and 'Traceback' not in output
