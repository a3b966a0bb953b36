"""A sweep over the alpha of a detector, with and without background exemption, as users run it."""
import json
import runpy
import sys

import pytest
import torch
from helpers.commands import ROOT
from helpers.in_process import run_tool
from helpers.runners import coco_cfg, shapes_cfg
from mmengine.config import Config
from mmengine.runner import Runner

from mmcausal.analysis import configured_alphas
from mmcausal.datasets.shapes import make_shapes_dataset

FIGURES = ('AP', 'APr', 'APc', 'APf')


def test_sweep_of_a_detector_equals_single_tests(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path / 'work')
    cfg.val_evaluator.metric = cfg.test_evaluator.metric = 'bbox'
    cfg.train_cfg.val_interval = 2
    Runner.from_cfg(cfg).train()
    config = tmp_path / 'tde.py'
    cfg.dump(config)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    sweep = ['analysis/sweep_detector_alpha.py', config, checkpoint, '--features',
             tmp_path / 'store', '--dtype', 'float32', '--alphas', '0', '1.5', '--out', tmp_path / 'sweep.json']
    assert 'no longer a result on them' in run_tool(*sweep, status=1)
    assert 'Proposals of 24 images' in run_tool(*sweep, '--i-know-this-is-test')
    choose_without_test_images(cfg, sweep, tmp_path)
    cfg.load_from = str(checkpoint)
    for point in json.loads((tmp_path / 'sweep.json').read_text())['points']:
        cfg.model.roi_head.classifier.alpha = point['alpha']
        cfg.experiment_name = f"single_{point['alpha']}"
        single = Runner.from_cfg(cfg).test()
        for figure in ('AP', 'APr', 'APc', 'APf'):
            value = single[f'lvis/bbox_{figure}']  # -1 where there is no ground truth
            assert point[figure] == (value if value < 0 else pytest.approx(100 * value, abs=0.02))


def choose_without_test_images(cfg, sweep, tmp_path):
    """Write a config with the best alpha, of which 'auto' is one, from the stored proposals."""
    cfg = Config(dict(cfg.to_dict(), test_dataloader=None, test_evaluator=None, test_cfg=None))
    config, chosen, out = tmp_path / 'without_test.py', tmp_path / 'chosen.py', tmp_path / 'auto.json'
    cfg.dump(config)
    output = run_tool(sweep[0], config, *sweep[2:-2], '--cfg-options',
                      f'val_dataloader.dataset.ann_file={cfg.train_dataloader.dataset.ann_file}', status=1)
    assert 'must be held out of the training, but 24 of 24 are training images' in output
    output = run_tool(sweep[0], config, *sweep[2:-4], 'auto', '0.5', '--out', out, '--write-config', chosen)
    assert 'Config with alpha' in output and 'Proposals of' not in output
    result = json.loads(out.read_text())
    assert [point['alpha'] for point in result['points']] == [0.5, 'auto']
    assert set(configured_alphas(Config.fromfile(chosen))) == {result['chosen']['best']}
    assert chosen.read_text().startswith('# alpha with the best AP on 24 images of the val split, epoch_1.pth')


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

    sweep = ['analysis/sweep_detector_alpha.py', tmp_path / 'tde.py', tmp_path / 'random.pth',
             '--i-know-this-is-test', '--features', tmp_path / 'store', '--dtype', 'float32', '--alphas', '0', '1.5']
    run_tool(*sweep, '--out', tmp_path / 'exempt.json')
    output = run_tool(*sweep, '--out', tmp_path / 'not_exempt.json', '--no-exempt-background')
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

    output = run_tool(*sweep, '--num-images', '4', status=1)
    assert 'holds features of another dataset' in output and 'Traceback' not in output


@pytest.fixture
def sweep(monkeypatch, capsys):
    """A function that runs the tool in this process, and returns what it prints or exits with."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools' / 'analysis'))

    def run_here(*arguments):
        monkeypatch.setattr(sys, 'argv', ['sweep_detector_alpha.py', *map(str, arguments)])
        try:
            runpy.run_path(str(ROOT / 'tools' / 'analysis' / 'sweep_detector_alpha.py'), run_name='__main__')
        except SystemExit as error:
            return error.code
        return capsys.readouterr().out

    return run_here


def test_coco_annotations_with_the_metric_of_the_host(shapes, tmp_path, sweep):
    """The tool counts the training images of the config's training data, and sweeps the AP of its groups."""
    annotations = json.loads((shapes / 'annotations' / 'shapes_train.json').read_text())
    classes = tuple(category['name'] for category in annotations['categories'][2:10])
    cfg = coco_cfg('cascade_tde_r18', shapes, tmp_path / 'work', classes,
                   dict(metric='bbox', iou_thrs=[0.01]))  # or nothing untrained would ever be found
    cfg.model.roi_head.mask_head = cfg.model.roi_head.mask_roi_extractor = None
    cfg.model.test_cfg.rcnn.update(score_thr=0., max_per_img=300)
    runner = Runner.from_cfg(cfg)
    for head in runner.model.roi_head.bbox_head:
        head.fc_cls.observe(torch.rand(4, head.fc_cls.in_features), torch.ones(4, dtype=torch.bool))
        head.fc_cls.update_direction(0.)
    torch.save(runner.model.state_dict(), tmp_path / 'random.pth')
    cfg.load_from = str(tmp_path / 'random.pth')
    own = dict(cfg.val_evaluator)
    cfg.val_evaluator = dict(type='CocoMetric', ann_file=own['ann_file'], iou_thrs=own['iou_thrs'])
    cfg.dump(tmp_path / 'tde.py')

    arguments = [tmp_path / 'tde.py', tmp_path / 'random.pth', '--features', tmp_path / 'store', '--dtype', 'float32']
    refusal = sweep(*arguments)
    assert 'holds test images' in refusal and 'tools/dataset_converters/hold_out_coco.py TRAIN.json' in refusal
    assert 'cifar' not in refusal and refusal.endswith('add --i-know-this-is-test')
    arguments += ['--i-know-this-is-test', '--alphas', 0, 1.5, '--num-images', 12]
    output = sweep(*arguments, '--select', 'APr', '--out', tmp_path / 'sweep.json')
    assert 'Best in box APr on 12 images' in output and 'Accumulating' not in output
    points = json.loads((tmp_path / 'sweep.json').read_text())['points']
    assert points[0] != points[1] and set(points[0]) == {'alpha', 'AP', 'APr', 'APc', 'APf'}

    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.indices = 12
    cfg.test_evaluator, cfg.experiment_name = own, 'single'
    single = Runner.from_cfg(cfg)
    single.test_evaluator.metrics[0].img_ids = [single.test_dataloader.dataset[i]['data_samples'].img_id
                                                for i in range(12)]
    result = single.test()
    for figure in ('APr', 'APc', 'APf'):
        value = result[f'coco/bbox_{figure}']
        assert points[1][figure] == (value if value < 0 else pytest.approx(100 * value, abs=1e-4))
    assert points[1]['AP'] == pytest.approx(100 * result['coco/bbox_mAP'], abs=0.051)  # rounded by the host

    options = 'val_evaluator.type=mmcausal.CocoMetric', 'val_evaluator.groups.dark=[0,1]'
    assert 'AP_dark' in sweep(*arguments, '--cfg-options', *options)
    assert sweep(*arguments, '--select', 'AP_dark') == '--select must be one of AP, APr, APc, APf, but got AP_dark'
