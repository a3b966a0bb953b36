"""LVIS metrics against their definition in plain loops."""
import json
import math
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('lvis')

import lvis  # noqa: E402
from helpers.lvis_data import SIDE, evaluate, random_samples, sample  # noqa: E402
from helpers.lvis_oracle import FIGURES, THRESHOLDS, category_ap, official, oracle  # noqa: E402
from helpers.runners import shapes_cfg  # noqa: E402
from mmdet.evaluation.metrics import LVISMetric as HostLVISMetric  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import METRICS  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from mmcausal.evaluation import LVISMetric  # noqa: E402
from mmcausal.registry import DATASETS  # noqa: E402


def test_one_category_by_hand(tmp_path):
    # hit, miss, hit of two objects: precision 1 up to recall 0.5 (51 points), 2/3 beyond (50 points)
    data = dict(images=[dict(id=1, width=90, height=90, neg_category_ids=[], not_exhaustive_category_ids=[])],
                categories=[dict(id=1, name='cup', frequency='c')],
                annotations=[dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 20, 20], area=400),
                             dict(id=2, image_id=1, category_id=1, bbox=[50, 50, 40, 40], area=1600)])
    (tmp_path / 'gt.json').write_text(json.dumps(data))
    boxes = [[0, 0, 20, 20], [30, 0, 20, 20], [50, 50, 40, 40]]
    result = evaluate(LVISMetric(str(tmp_path / 'gt.json'), classwise=True),
                      [sample(1, (90, 90), boxes, [.9, .8, .7], [0, 0, 0])])
    expected = (51 + 50 * 2 / 3) / 101
    for figure in ('AP', 'AP50', 'AP75', 'APc'):
        assert result[f'lvis/bbox_{figure}'] == pytest.approx(expected)
    assert result['lvis/bbox_APs'] == pytest.approx(1) and result['lvis/bbox_APm'] == pytest.approx(1)
    assert result['lvis/bbox_APl'] == result['lvis/bbox_APr'] == result['lvis/bbox_APf'] == -1
    assert result['lvis/bbox_cup_precision'] == pytest.approx(expected)


@pytest.mark.parametrize('backend', ['lvis-api', 'hotcoco'])
@pytest.mark.parametrize('options', [dict(), dict(max_dets=6), dict(img_ids=[3, 21, 40]),
                                     dict(iou_thrs=[.4, .5, .75])], ids=str)
def test_against_the_oracle(truth, ann_file, backend, options):
    if backend == 'hotcoco':
        pytest.importorskip('hotcoco')
    samples = random_samples(truth, seed=1)
    result = evaluate(LVISMetric(ann_file, ['bbox', 'segm'], backend=backend, **options), samples)
    for metric in ('bbox', 'segm'):
        expected = oracle(truth, samples, metric, options.get('iou_thrs', THRESHOLDS), options.get('max_dets', 300),
                          options.get('img_ids'))
        assert {f: result[f'lvis/{metric}_{f}'] for f in FIGURES} == pytest.approx(expected, abs=1e-9)


def test_options_count_here_and_not_in_the_host(truth, ann_file):
    samples = random_samples(truth, seed=2)

    def ap(metric, **attributes):
        vars(metric).update(attributes)
        return next(iter(evaluate(metric, samples).values()))

    base = ap(LVISMetric(ann_file))
    for options in (dict(max_dets=6), dict(img_ids=[3, 21]), dict(iou_thrs=[.5])):
        assert abs(ap(LVISMetric(ann_file, **options)) - base) > 1e-2
    assert ap(HostLVISMetric(ann_file)) == ap(HostLVISMetric(ann_file, iou_thrs=[.5])) == round(base, 3)
    assert ap(HostLVISMetric(ann_file)) == ap(HostLVISMetric(ann_file), img_ids=[3, 21])
    assert (ap(HostLVISMetric(ann_file, metric='proposal', proposal_nums=(1,)))
            == ap(HostLVISMetric(ann_file, metric='proposal', proposal_nums=(1000,))))


def test_evaluations_leave_no_trace(truth, ann_file):
    samples = random_samples(truth, seed=3)
    metric = LVISMetric(ann_file, ['bbox', 'segm'])
    first = evaluate(metric, samples)
    assert evaluate(metric, samples) == first
    alone = evaluate(LVISMetric(ann_file, 'segm'), samples)
    assert alone == {key: value for key, value in first.items() if 'segm' in key}


def test_classwise_and_other_figures(truth, ann_file):
    samples = random_samples(truth, seed=4)
    ids = [image['id'] for image in truth['images']]
    result = evaluate(LVISMetric(ann_file, ['bbox', 'segm'], classwise=True, metric_items=['APf', 'ARs@300']), samples)
    assert set(result) == {f'lvis/{m}_{name}' for m in ('bbox', 'segm')
                           for name in ('APf', 'ARs@300', *(f'c{i}_precision' for i in (7, 2, 5, 9, 4)))}
    for metric in ('bbox', 'segm'):
        assert math.isnan(result[f'lvis/{metric}_c2_precision'])
        for category in (7, 5, 9, 4):
            values = [category_ap(truth, samples, metric, category, t, '', 300, ids) for t in THRESHOLDS]
            assert result[f'lvis/{metric}_c{category}_precision'] == pytest.approx(np.mean(values))
    assert 0 < result['lvis/bbox_ARs@300'] <= 1


def test_no_detections(truth, ann_file):
    samples = [sample(image['id'], (SIDE, SIDE), [], [], [], []) for image in truth['images']]
    result = evaluate(LVISMetric(ann_file, ['bbox', 'segm', 'proposal_fast']), samples)
    assert set(result.values()) == {0.} and len(result) == 2 * len(FIGURES) + 3


def test_proposal_recall_by_hand(tmp_path):
    # one object is hit exactly, the other with IoU 0.62, which 3 of the 10 thresholds accept; image 2 has no objects
    image = dict(width=200, height=100, neg_category_ids=[], not_exhaustive_category_ids=[])
    data = dict(images=[dict(image, id=i) for i in (1, 2)], categories=[dict(id=1, name='cup', frequency='c')],
                annotations=[dict(id=i, image_id=1, category_id=1, bbox=[x, 0, 100, 100], area=10000)
                             for i, x in ((1, 0), (2, 100))])
    (tmp_path / 'gt.json').write_text(json.dumps(data))
    samples = [sample(2, (100, 200), [[0, 0, 9, 9]], [.5], [0]),
               sample(1, (100, 200), [[100, 0, 100, 62], [0, 0, 100, 100]], [.3, .8], [0, 0])]
    result = evaluate(LVISMetric(str(tmp_path / 'gt.json'), 'proposal_fast', proposal_nums=(1, 2)), samples)
    assert result == {'lvis/AR@1': pytest.approx(.5), 'lvis/AR@2': pytest.approx(.65)}


def test_written_files_give_the_same_figures(truth, ann_file, tmp_path):
    samples = random_samples(truth, seed=5)
    result = evaluate(LVISMetric(ann_file, ['bbox', 'segm']), samples)
    prefix = tmp_path / 'new' / 'results'
    assert evaluate(LVISMetric(ann_file, ['bbox', 'segm'], format_only=True, outfile_prefix=str(prefix)), samples) == {}
    for metric in ('bbox', 'segm'):
        file = f'{prefix}.{metric}.json'
        assert official(ann_file, file, metric) == {f: result[f'lvis/{metric}_{f}'] for f in FIGURES}
        written = json.loads(Path(file).read_text())
        shape = 'bbox' if metric == 'bbox' else 'segmentation'
        assert all(set(w) == {'image_id', 'category_id', 'score', shape} for w in written)
        assert {w['category_id'] for w in written} <= {7, 2, 5, 9, 4}
    assert all(isinstance(w['segmentation']['counts'], str) for w in written)


def test_detections_for_the_test_server(shapes, tmp_path):
    """A file like the test sets of LVIS: no annotations, and no lists of categories for the images."""
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


def test_fixed_ap_runs_and_agrees_where_nothing_is_cut(truth, ann_file):
    samples = random_samples(truth, seed=6)
    fixed = evaluate(METRICS.build(dict(type='mmcausal.LVISFixedAPMetric', ann_file=ann_file)), samples)
    result = evaluate(METRICS.build(dict(type='mmcausal.LVISMetric', ann_file=ann_file)), samples)
    assert {f: fixed[f'lvis_fixed_ap/{f}'] for f in FIGURES} == pytest.approx(
        {f: result[f'lvis/bbox_{f}'] for f in FIGURES})


def test_fixed_ap_refuses_other_files(ann_file, tmp_path):
    data = json.loads(Path(ann_file).read_text())
    build = METRICS.build
    with pytest.raises(ValueError, match='writes no files'):
        build(dict(type='mmcausal.LVISFixedAPMetric', ann_file=ann_file, format_only=True, outfile_prefix='x'))
    for part, words in (('annotations', 'has no annotations'), ('categories', 'frequency r, c or f')):
        spoilt = dict(data, **{part: [] if part == 'annotations' else [
            {k: v for k, v in category.items() if k != 'frequency'} for category in data['categories']]})
        (tmp_path / f'{part}.json').write_text(json.dumps(spoilt))
        with pytest.raises(ValueError, match=words):
            build(dict(type='mmcausal.LVISFixedAPMetric', ann_file=str(tmp_path / f'{part}.json')))


def test_images_that_were_not_tested_are_told(truth, ann_file):
    logger = MMLogger.get_current_instance()
    with mock.patch.object(logger, 'warning') as warning:
        evaluate(LVISMetric(ann_file), random_samples(truth, seed=1)[1:])
    assert f'1 of {len(truth["images"])} images were not tested' in warning.call_args.args[0]


def test_fixed_ap_of_nothing_is_zero_and_unknown_images_are_refused(truth, ann_file):
    metric = METRICS.build(dict(type='mmcausal.LVISFixedAPMetric', ann_file=ann_file))
    empty = [sample(image['id'], (SIDE, SIDE), [], [], []) for image in truth['images']]
    assert evaluate(metric, empty) == {f'lvis_fixed_ap/{figure}': 0 for figure in FIGURES}
    with pytest.raises(ValueError, match='needs an img_id .*, but got None'):
        metric.process({}, [dict(empty[0], img_id=None)])


@pytest.mark.parametrize('name', ['LVISMetric', 'LVISFixedAPMetric'])
def test_categories_of_other_data_are_refused_before_the_work(ann_file, name):
    metric = METRICS.build(dict(type=f'mmcausal.{name}', ann_file=ann_file))
    metric.dataset_meta = dict(classes=('c7', 'c2', 'c5', 'c9', 'c4'))  # as MMEngine does when it builds the loop
    with pytest.raises(ValueError, match="the evaluator's ann_file must have the 4 classes .*, but has 5 categories"):
        metric.dataset_meta = dict(classes=('c7', 'c2', 'c5', 'c9'))
    with pytest.raises(ValueError, match='the categories of .* must be the classes of the dataset, but 2 differ'):
        metric.dataset_meta = dict(classes=('c7', 'c5', 'c2', 'c9', 'c4'))


@pytest.mark.parametrize('options, message', [
    (dict(metric='keypoints'), 'metric must be'), (dict(metric=['bbox', 'proposal']), 'proposal_fast'),
    (dict(backend='coco'), "backend must be .* got 'coco'"), (dict(format_only=True), 'needs outfile_prefix'),
    (dict(max_dets=0), 'max_dets must be an integer of at least 1'),
    (dict(max_dets=300.), 'max_dets must be an integer of at least 1'),
    (dict(iou_thrs=[.5, 1.5]), 'iou_thrs must be'),
    (dict(img_ids=[3, 77]), r'unknown \[77\]'), (dict(img_ids=[]), 'one or more images'),
    (dict(metric_items=['mAP']), 'metric_items must be'),
    (dict(metric_items=['AP50'], iou_thrs=[.6]), 'metric_items must be'),
    (dict(ann_file=None), 'ann_file must be .* but got None'),
])
def test_bad_arguments(ann_file, options, message):
    with pytest.raises(ValueError, match=message):
        LVISMetric(**{'ann_file': ann_file, **options})


def test_bad_samples(truth, ann_file):
    good = sample(3, (SIDE, SIDE), [[0, 0, 9, 9]], [.5], [0])
    without_id = {key: value for key, value in good.items() if key != 'img_id'}
    for bad, message in ((without_id, 'needs an img_id .*, but got None'), (dict(good, img_id=77), 'got 77'),
                         (sample(3, (SIDE, SIDE), [[0, 0, 9, 9]], [.5], [5]), r'labels must be in \[0, 5\)')):
        with pytest.raises(ValueError, match=message):
            LVISMetric(ann_file).process({}, [bad])
    with pytest.raises(ValueError, match='with masks, but image 3 has none'):
        LVISMetric(ann_file, 'segm').process({}, [good])


def test_samples_of_other_members_pass_until_the_evaluation(truth, ann_file):
    """MultiDatasetsEvaluator gives each metric the samples of all members, and takes those of others out in the end."""
    samples = random_samples(truth, seed=1)
    other = dict(samples[0], img_id=99)
    expected = evaluate(LVISMetric(ann_file), samples)
    classes = [category['name'] for category in truth['categories']]
    for meta in ([dict(classes=classes, cumulative_sizes=[6, 7])] * 2, dict(classes=classes, cumulative_sizes=[6, 7])):
        metric = LVISMetric(ann_file)
        metric.dataset_meta = meta
        metric.process({}, [*samples, other])
        del metric.results[6:]
        assert metric.evaluate(size=6) == expected
        with pytest.raises(ValueError, match='img_id of ann_file, but got 99'):
            evaluate(metric, [other])
