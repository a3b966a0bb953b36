"""Small detectors in real runs, on generated images in LVIS format."""
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import lvis
import pytest
import torch
from detectors import as_list
from mmengine.config import Config
from mmengine.runner import Runner
from test_tools import run

from mmcausal.datasets.shapes import make_shapes_dataset
from mmcausal.hooks import DetectorCheckHook
from mmcausal.registry import DATASETS

CONFIGS = Path(__file__).parent.parent / 'configs'


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes')
    make_shapes_dataset(root, num_train=24, num_val=24, imbalance_ratio=10, image_size=160)
    return root


def shapes_cfg(name, shapes, work_dir):
    """A config of configs/shapes_lvis, narrower still, for one epoch of three iterations."""
    cfg = Config.fromfile(CONFIGS / 'shapes_lvis' / f'{name}.py')
    cfg.merge_from_dict({
        'model.backbone.base_channels': 8,
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.test_cfg.rcnn.max_per_img': 10,
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'default_hooks.logger.interval': 1,
        'randomness.seed': 0,
    })
    for loader in ('train', 'val', 'test'):
        cfg[f'{loader}_dataloader'].update(num_workers=0, persistent_workers=False)
        cfg[f'{loader}_dataloader'].dataset.data_root = str(shapes)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(shapes / 'annotations/shapes_val.json')
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{name}_{work_dir.name}'
    return cfg


def test_training_validation_and_checkpoint(shapes, tmp_path):
    runner = Runner.from_cfg(shapes_cfg('cascade_tde_r18', shapes, tmp_path))
    runner.train()
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == 3 and torch.tensor(losses).isfinite().all()
    for head in runner.model.roi_head.bbox_head:
        assert head.fc_cls.num_updates == 3 and head.fc_cls.mean_feature.any()

    metrics = runner.test()
    assert {f'lvis/{kind}_AP{which}' for kind in ('bbox', 'segm') for which in ('', 'r', 'c', 'f')} <= metrics.keys()
    state = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert [state[f'roi_head.bbox_head.{stage}.fc_cls.num_updates'] for stage in range(3)] == [3, 3, 3]


def test_gradient_accumulation_and_weight_averaging(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path)
    cfg.optim_wrapper.accumulative_counts = 3
    cfg.custom_hooks.append(dict(type='EMAHook'))
    cfg.train_cfg.val_interval = 2
    runner = Runner.from_cfg(cfg)
    runner.train()
    layers = [head.fc_cls for head in runner.model.roi_head.bbox_head]
    assert [layer.num_updates.item() for layer in layers] == [1, 1, 1]
    averaged = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    for stage, layer in enumerate(layers):
        assert torch.equal(averaged[f'roi_head.bbox_head.{stage}.fc_cls.mean_feature'], layer.mean_feature)


def test_stock_detector_gets_directions_and_tde(shapes, tmp_path):
    """Train a stock Cascade Mask R-CNN, estimate the direction of each stage, test with it; all by the tools."""
    cfg = shapes_cfg('cascade_baseline_r18', shapes, tmp_path)
    cfg.val_evaluator.metric = cfg.test_evaluator.metric = 'bbox'
    config = tmp_path / 'config' / 'stock.py'  # not in work_dir, where Runners dump theirs
    config.parent.mkdir()
    cfg.dump(config)
    run(sys.executable, 'tools/train.py', config)
    estimated = tmp_path / 'with_direction.pth'
    output = run(sys.executable, 'tools/analysis/estimate_direction.py', config, tmp_path / 'epoch_1.pth',
                 estimated)
    assert all(f'roi_head.bbox_head.{stage}.fc_cls: mean cosine' in output for stage in range(3))
    before = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    after = torch.load(estimated, map_location='cpu', weights_only=False)['state_dict']
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert set(after) - set(before) == {f'roi_head.bbox_head.{stage}.fc_cls.{buffer}' for stage in range(3)
                                        for buffer in ('mean_feature', 'mean_cosine', 'num_updates')}
    output = run(sys.executable, 'tools/test.py', config, estimated, '--tta', '--cfg-options', 'tta_model.alpha=1.5')
    assert 'bbox_AP' in output
    del before['roi_head.bbox_head.2.fc_cls.weight']
    torch.save(dict(state_dict=before), tmp_path / 'two_stages.pth')
    output = run(sys.executable, 'tools/analysis/estimate_direction.py', config, tmp_path / 'two_stages.pth',
                 tmp_path / 'not_there.pth', status=1)
    assert 'bbox_head.2.fc_cls.weight has shape (25, ' in output and 'here, but is not in the checkpoint' in output
    assert 'Traceback' not in output


def test_sweep_of_a_detector_equals_single_tests(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path / 'work')
    cfg.val_evaluator.metric = cfg.test_evaluator.metric = 'bbox'
    cfg.train_cfg.val_interval = 2
    Runner.from_cfg(cfg).train()
    config = tmp_path / 'tde.py'
    cfg.dump(config)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    sweep = [sys.executable, 'tools/analysis/sweep_detector_alpha.py', config, checkpoint, '--features',
             tmp_path / 'store', '--dtype', 'float32', '--alphas', '0', '1.5', '--out', tmp_path / 'sweep.json']
    assert 'no longer a result on them' in run(*sweep, status=1)
    assert 'Proposals of 24 images' in run(*sweep, '--i-know-this-is-test')
    cfg.load_from = str(checkpoint)
    for point in json.loads((tmp_path / 'sweep.json').read_text())['points']:
        cfg.model.roi_head.classifier.alpha = point['alpha']
        cfg.experiment_name = f"single_{point['alpha']}"
        single = Runner.from_cfg(cfg).test()
        for figure in ('AP', 'APr', 'APc', 'APf'):
            value = single[f'lvis/bbox_{figure}']  # -1 where there is no ground truth
            assert point[figure] == (value if value < 0 else pytest.approx(100 * value, abs=0.02))


def test_repeat_factor_sampling_and_equalization_loss(shapes, tmp_path):
    cfg = shapes_cfg('cascade_baseline_r18', shapes, tmp_path)
    cfg.train_dataloader.dataset = dict(
        type='ClassBalancedDataset', oversample_thr=0.2, dataset=cfg.train_dataloader.dataset)
    for head in as_list(cfg.model.roi_head.bbox_head):
        head.loss_cls = dict(type='mmcausal.EqualizationLoss', tail_below=5)
    cfg.custom_hooks.append(dict(type='mmcausal.ClassPriorHook'))
    cfg.train_cfg.val_interval = 2
    runner = Runner.from_cfg(cfg)
    runner.train()
    categories = json.loads((shapes / 'annotations/shapes_train.json').read_text())['categories']
    counts = [category['image_count'] for category in categories]
    for head in runner.model.roi_head.bbox_head:
        assert head.loss_cls.is_tail.tolist() == [count < 5 for count in counts] + [False]
    assert len(runner.train_dataloader.dataset) > 24


def test_detections_for_the_test_server(shapes, tmp_path):
    """A file like LVIS's test sets: no annotations, and images without what is known of them."""
    truth = json.loads((shapes / 'annotations/shapes_val.json').read_text())
    del truth['annotations']
    for image in truth['images']:
        del image['neg_category_ids'], image['not_exhaustive_category_ids']
    test_file = tmp_path / 'image_info_test.json'
    test_file.write_text(json.dumps(truth))

    cfg = shapes_cfg('cascade_baseline_r18', shapes, tmp_path)
    cfg.test_dataloader.dataset.ann_file = str(test_file)
    cfg.test_evaluator.update(ann_file=str(test_file), format_only=True, outfile_prefix=str(tmp_path / 'server'))
    assert Runner.from_cfg(cfg).test() == {}
    for kind in ('bbox', 'segm'):
        detections = lvis.LVISResults(lvis.LVIS(str(test_file)), str(tmp_path / f'server.{kind}.json'))
        assert {d['image_id'] for d in detections.anns.values()} <= {image['id'] for image in truth['images']}
        assert len(detections.anns) > 24

    cfg.test_evaluator.format_only = False
    cfg.experiment_name += '_again'
    with pytest.raises(ValueError, match='no annotations.* format_only=True'):
        Runner.from_cfg(cfg).test()
    train = cfg.train_dataloader.dataset
    train.update(ann_file=str(test_file), pipeline=[])
    with pytest.raises(ValueError, match='image_info_test.json has no annotations to train on'):
        DATASETS.build(train)


def test_number_of_classes_must_fit_all_data_before_the_first_iteration(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path)
    for head in cfg.model.roi_head.bbox_head:
        head.num_classes = 23
    with pytest.raises(ValueError, match=r'`num_classes` \(23\) in Shared2FCBBoxHead'):
        Runner.from_cfg(cfg).train()
    cfg.experiment_name += '_test'
    with pytest.raises(ValueError, match=r'`num_classes` \(23\) in Shared2FCBBoxHead'):
        Runner.from_cfg(cfg).test()

    def loader(num_classes):
        return SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=tuple(range(num_classes)))))

    model = torch.nn.Module()
    model.num_classes = 24
    runner = SimpleNamespace(model=model, val_loop=object(), train_dataloader=loader(24), val_dataloader=loader(20))
    runner.logger = None
    with pytest.raises(ValueError, match=r'`num_classes` \(24\).* does not matches .* 20'):
        DetectorCheckHook().before_train(runner)  # the validation data, before the first epoch


@pytest.mark.parametrize('name', ['cascade_baseline_r18', 'cascade_tde_r18'])
def test_checkpoint_of_other_stages_or_classes_is_refused(shapes, tmp_path, name):
    runner = Runner.from_cfg(shapes_cfg(name, shapes, tmp_path))
    state = runner.model.state_dict()
    two_stages = {key: value for key, value in state.items() if 'bbox_head.2.' not in key}
    torch.save(dict(state_dict=two_stages), tmp_path / 'two.pth')
    with pytest.raises(ValueError, match='not one of this .*bbox_head.2.fc_cls.weight has shape .* here, but is not'):
        runner.load_checkpoint(str(tmp_path / 'two.pth'))
    fewer = {key: value[1:] if 'fc_cls.' in key and len(value.shape) and len(value) == 25 else value
             for key, value in state.items()}
    torch.save(dict(state_dict=fewer), tmp_path / 'fewer.pth')
    runner._load_from = str(tmp_path / 'fewer.pth')
    with pytest.raises(ValueError, match=r'not one of this .*fc_cls.weight has shape \(25, .* here, but \(24, '):
        runner.test()


@pytest.mark.parametrize('change, error, words', [
    (dict(type='mmcausal.LVISV1Dataset'), ValueError, 'has 24 categories and the data set 1203 classes'),
    (dict(metainfo=dict(classes=tuple(map(str, range(24))))), ValueError, '24 of the categories .* are not the'),
    (dict(data_prefix=dict(img='nowhere')), FileNotFoundError, 'nowhere.*, the first image .* is missing'),
])
def test_wrong_annotations_and_folders(shapes, tmp_path, change, error, words):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path).train_dataloader.dataset
    cfg.update(change, pipeline=[])
    with pytest.raises(error, match=words):
        DATASETS.build(cfg)


def test_images_of_each_folder_are_looked_for(shapes, tmp_path):
    truth = json.loads((shapes / 'annotations/shapes_train.json').read_text())
    truth['images'][-1]['coco_url'] = 'http://images.cocodataset.org/forgotten/1.jpg'
    (tmp_path / 'train.json').write_text(json.dumps(truth))
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path).train_dataloader.dataset
    cfg.update(ann_file=str(tmp_path / 'train.json'), pipeline=[], filter_cfg=None)
    with pytest.raises(FileNotFoundError, match='forgotten.1.jpg, the first image .* in its folder, is missing'):
        DATASETS.build(cfg)
