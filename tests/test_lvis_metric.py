import gzip
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('lvis')

from lvis import LVIS, LVISEval, LVISResults  # noqa: E402
from mmdet.evaluation.metrics import LVISMetric as HostLVISMetric  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import METRICS  # noqa: E402
from pycocotools.mask import encode  # noqa: E402

from mmcausal.evaluation import LVISMetric, lvis_backends  # noqa: E402

FIGURES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
THRESHOLDS, RECALLS = np.linspace(.5, .95, 10).tolist(), np.linspace(0, 1, 101).tolist()
SIZES = {'': (0, 1e10), 's': (0, 32**2), 'm': (32**2, 96**2), 'l': (96**2, 1e10)}
SIDE = 160


# A small data set, written here

def blob(rng, scale):
    """A rectangle without its lower right quarter, so that mask and box differ in area."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    w, h = rng.integers(scale // 2, scale, 2)
    x, y = rng.integers(0, SIDE - w), rng.integers(0, SIDE - h)
    mask[y:y + h, x:x + w] = True
    mask[y + h // 2:y + h, x + w // 2:x + w] = False
    return mask


def box_of(mask):
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max() - xs.min() + 1), int(ys.max() - ys.min() + 1)]


def runs(mask):
    """Uncompressed RLE: run lengths in column order, beginning with the zeros."""
    flat = mask.T.reshape(-1).astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, len(flat)]).tolist()
    return dict(size=list(mask.shape), counts=[0, *lengths] if flat[0] else lengths)


@pytest.fixture(scope='module')
def truth():
    """Six images; categories in an order that is not that of their ids; category 2 without ground truth."""
    rng = np.random.default_rng(0)
    categories = [dict(id=i, name=f'c{i}', frequency=f) for i, f in ((7, 'r'), (2, 'r'), (5, 'c'), (9, 'f'), (4, 'f'))]
    images = [dict(id=i, width=SIDE, height=SIDE, neg_category_ids=[4, 2], not_exhaustive_category_ids=[])
              for i in (12, 3, 40, 8, 21, 5)]
    images[1]['not_exhaustive_category_ids'] = [9, 5]
    annotations = []
    for image in images[:-1]:
        for category in (7, 5, 9, 9, 4):
            mask = blob(rng, int(rng.choice([25, 60, 150])))
            annotations.append(dict(id=len(annotations) + 1, image_id=image['id'], category_id=category, mask=mask,
                                    bbox=box_of(mask), area=int(mask.sum()), segmentation=runs(mask)))
        image['neg_category_ids'] = [2]
    return dict(images=images, annotations=annotations, categories=categories)


@pytest.fixture(scope='module')
def ann_file(truth, tmp_path_factory):
    file = tmp_path_factory.mktemp('lvis') / 'small.json'
    annotations = [{k: v for k, v in a.items() if k != 'mask'} for a in truth['annotations']]
    file.write_text(json.dumps(dict(truth, annotations=annotations)))
    return str(file)


def sample(img_id, shape, boxes, scores, labels, masks=None, mask_scores=None):
    """Boxes are given as x, y, w, h."""
    boxes = torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4))
    boxes[:, 2:] += boxes[:, :2]
    instances = dict(bboxes=boxes, scores=torch.tensor(scores, dtype=torch.float32),
                     labels=torch.tensor(labels, dtype=torch.long))
    if masks is not None:
        instances['masks'] = torch.from_numpy(np.stack(masks)) if len(masks) else torch.zeros(0, *shape).bool()
    if mask_scores is not None:
        instances['mask_scores'] = torch.tensor(mask_scores, dtype=torch.float32)
    return dict(img_id=img_id, ori_shape=shape, pred_instances=instances)


def random_samples(truth, seed):
    """Moved ground truth and blobs, with the right class or a wrong one; nothing at all in image 40."""
    rng = np.random.default_rng(seed)
    samples = []
    for image in truth['images']:
        masks, labels = [], []
        for annotation in [a for a in truth['annotations'] if a['image_id'] == image['id']]:
            for _ in range(3):
                masks.append(np.roll(annotation['mask'], rng.integers(-6, 7, 2), (0, 1)))
                ids = [c['id'] for c in truth['categories']]
                labels.append(ids.index(annotation['category_id']) if rng.random() < .7 else rng.integers(len(ids)))
        for _ in range(8):
            masks.append(blob(rng, 60))
            labels.append(rng.integers(len(truth['categories'])))
        if image['id'] == 40:
            masks, labels = [], []
        samples.append(sample(image['id'], (SIDE, SIDE), [box_of(m) for m in masks], rng.random(len(masks)), labels,
                              masks, rng.random(len(masks))))
    return samples


def evaluate(metric, samples):
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))


# AP from its definition, in loops

def box_iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inside = max(w, 0) * max(h, 0)
    return inside / (a[2] * a[3] + b[2] * b[3] - inside)


def mask_iou(a, b):
    return (a & b).sum() / (a | b).sum()


def detections_of(sample, truth, metric, max_dets):
    instances = sample['pred_instances']
    scores = instances['scores' if metric == 'bbox' else 'mask_scores'].tolist()
    found = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i])[:max_dets]:
        x1, y1, x2, y2 = instances['bboxes'][i].tolist()
        mask = instances['masks'][i].numpy()
        found.append(dict(score=scores[i], category=truth['categories'][instances['labels'][i]]['id'],
                          shape=(x1, y1, x2 - x1, y2 - y1) if metric == 'bbox' else mask,
                          area=(x2 - x1) * (y2 - y1) if metric == 'bbox' else mask.sum()))
    return found


def match_image(image, objects, found, metric, threshold, size):
    """(score, hit) of the detections that count."""
    low, high = SIZES[size]
    counts = [low <= o['area'] <= high for o in objects]
    taken, judged = set(), []
    for detection in found:
        overlaps = {}
        for j, o in enumerate(objects):
            shape = detection['shape']
            iou = box_iou(shape, o['bbox']) if metric == 'bbox' else mask_iou(shape, o['mask'])
            if j not in taken and iou >= threshold:
                overlaps[j] = iou
        preferred = {j: iou for j, iou in overlaps.items() if counts[j]} or overlaps
        if preferred:
            best = max(preferred, key=preferred.get)
            taken.add(best)
            if counts[best]:
                judged.append((detection['score'], True))
        elif low <= detection['area'] <= high and detection['category'] not in image['not_exhaustive_category_ids']:
            judged.append((detection['score'], False))
    return judged, sum(counts)


def category_ap(truth, samples, metric, category, threshold, size, max_dets, img_ids):
    judged, positives = [], 0
    for item in samples:
        image = next(i for i in truth['images'] if i['id'] == item['img_id'])
        objects = [a for a in truth['annotations']
                   if a['image_id'] == image['id'] and a['category_id'] == category]
        if image['id'] not in img_ids or not (objects or category in image['neg_category_ids']):
            continue
        found = [d for d in detections_of(item, truth, metric, max_dets) if d['category'] == category]
        more, count = match_image(image, objects, found, metric, threshold, size)
        judged, positives = judged + more, positives + count
    if not positives:
        return None
    hits = [hit for _, hit in sorted(judged, key=lambda pair: -pair[0])]
    curve = [(sum(hits[:n]) / positives, sum(hits[:n]) / n) for n in range(1, len(hits) + 1)]
    return sum(max([p for r, p in curve if r >= recall], default=0) for recall in RECALLS) / 101


def oracle(truth, samples, metric, thresholds=THRESHOLDS, max_dets=300, img_ids=None):
    img_ids = img_ids or [image['id'] for image in truth['images']]

    def mean(thresholds, size='', frequencies='rcf'):
        values = [category_ap(truth, samples, metric, c['id'], t, size, max_dets, img_ids)
                  for c in truth['categories'] if c['frequency'] in frequencies for t in thresholds]
        values = [v for v in values if v is not None]
        return sum(values) / len(values) if values else -1

    figures = {'AP': mean(thresholds), 'AP50': mean([.5]), 'AP75': mean([.75])}
    figures.update({f'AP{size}': mean(thresholds, size) for size in 'sml'})
    figures.update({f'AP{group}': mean(thresholds, '', group) for group in 'rcf'})
    return figures


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


@pytest.mark.parametrize('backend', ['lvis-api', 'hotcoco'])
def test_single_thresholds_are_right_or_absent(truth, ann_file, backend):
    if backend == 'hotcoco':
        pytest.importorskip('hotcoco')
    samples = random_samples(truth, seed=1)
    full = evaluate(LVISMetric(ann_file), samples)
    result = evaluate(LVISMetric(ann_file, iou_thrs=np.arange(.6, .96, .05), backend=backend), samples)
    assert 'lvis/bbox_AP50' not in result
    assert result['lvis/bbox_AP75'] == pytest.approx(full['lvis/bbox_AP75'])
    result = evaluate(LVISMetric(ann_file, iou_thrs=.5, backend=backend), samples)
    assert result['lvis/bbox_AP'] == result['lvis/bbox_AP50'] == pytest.approx(full['lvis/bbox_AP50'])
    assert 'lvis/bbox_AP75' not in result


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


def official(ann_file, file, metric):
    evaluation = LVISEval(LVIS(ann_file), LVISResults(LVIS(ann_file), str(file)), metric)
    evaluation.run()
    return {figure: evaluation.get_results()[figure] for figure in FIGURES}


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


@pytest.mark.parametrize('backend', ['lvis-api', 'hotcoco'])
def test_an_empty_mask_is_no_false_positive(tmp_path, backend):
    if backend == 'hotcoco':
        pytest.importorskip('hotcoco')
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:9, :9] = True
    rle = encode(np.asfortranarray(mask.astype(np.uint8)))
    truth = dict(
        images=[dict(id=1, height=SIDE, width=SIDE, neg_category_ids=[], not_exhaustive_category_ids=[])],
        categories=[dict(id=1, name='a', frequency='r')],
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 9, 9], area=81,
                          segmentation=dict(rle, counts=rle['counts'].decode()))])
    (tmp_path / 'gt.json').write_text(json.dumps(truth))
    found = sample(1, (SIDE, SIDE), [[5, 5, 0, 0], [0, 0, 9, 9]], [.9, .5], [0, 0], [np.zeros_like(mask), mask])
    result = evaluate(LVISMetric(str(tmp_path / 'gt.json'), ['bbox', 'segm'], backend=backend), [found])
    assert result['lvis/segm_AP'] == result['lvis/bbox_AP'] == pytest.approx(1)


def test_images_that_were_not_tested_are_told(truth, ann_file):
    logger = MMLogger.get_current_instance()
    with mock.patch.object(logger, 'warning') as warning:
        evaluate(LVISMetric(ann_file), random_samples(truth, seed=1)[1:])
    assert f'1 of {len(truth["images"])} images were not tested' in warning.call_args.args[0]


def test_fixed_ap_of_nothing_is_zero_and_unknown_images_are_refused(truth, ann_file):
    metric = METRICS.build(dict(type='mmcausal.LVISFixedAPMetric', ann_file=ann_file))
    empty = [sample(image['id'], (SIDE, SIDE), [], [], []) for image in truth['images']]
    assert evaluate(metric, empty) == {f'lvis_fixed_ap/{figure}': 0 for figure in FIGURES}
    with pytest.raises(ValueError, match='needs an img_id .* got None'):
        metric.process({}, [dict(empty[0], img_id=None)])


@pytest.mark.parametrize('name', ['LVISMetric', 'LVISFixedAPMetric'])
def test_categories_of_other_data_are_refused_before_the_work(ann_file, name):
    metric = METRICS.build(dict(type=f'mmcausal.{name}', ann_file=ann_file))
    metric.dataset_meta = dict(classes=('c7', 'c2', 'c5', 'c9', 'c4'))  # as MMEngine does when it builds the loop
    with pytest.raises(ValueError, match="the evaluator's ann_file has 5 categories and the data set 4 classes"):
        metric.dataset_meta = dict(classes=('c7', 'c2', 'c5', 'c9'))
    with pytest.raises(ValueError, match='2 of the categories .* are not the classes of the data set'):
        metric.dataset_meta = dict(classes=('c7', 'c5', 'c2', 'c9', 'c4'))


@pytest.mark.parametrize('options, message', [
    (dict(metric='keypoints'), 'metric must be'), (dict(metric=['bbox', 'proposal']), 'proposal_fast'),
    (dict(backend='coco'), "backend must be .* got 'coco'"), (dict(format_only=True), 'needs outfile_prefix'),
    (dict(max_dets=0), 'max_dets must be at least 1'), (dict(max_dets=300.), 'max_dets must be at least 1'),
    (dict(iou_thrs=[.5, 1.5]), 'iou_thrs must be'),
    (dict(img_ids=[3, 77]), r'unknown \[77\]'), (dict(img_ids=[]), 'one or more images'),
    (dict(metric_items=['mAP']), 'metric_items must be'),
    (dict(metric_items=['AP50'], iou_thrs=[.6]), 'metric_items must be'), (dict(ann_file=None), 'ann_file must name'),
])
def test_bad_arguments(ann_file, options, message):
    with pytest.raises(ValueError, match=message):
        LVISMetric(**{'ann_file': ann_file, **options})


def test_bad_samples(truth, ann_file):
    good = sample(3, (SIDE, SIDE), [[0, 0, 9, 9]], [.5], [0])
    without_id = {key: value for key, value in good.items() if key != 'img_id'}
    for bad, message in ((without_id, 'needs an img_id .* got None'), (dict(good, img_id=77), 'got 77'),
                         (sample(3, (SIDE, SIDE), [[0, 0, 9, 9]], [.5], [5]), r'labels must be in \[0, 5\)')):
        with pytest.raises(ValueError, match=message):
            LVISMetric(ann_file).process({}, [bad])
    with pytest.raises(ValueError, match='with masks, image 3 has none'):
        LVISMetric(ann_file, 'segm').process({}, [good])


@pytest.mark.parametrize('options, backend, message', [
    (dict(id=0), 'lvis-api', 'at least 1, but got 0'), (dict(iscrowd=1), 'hotcoco', 'annotation 1 of ann_file'),
    (dict(ignore=1), 'hotcoco', "backend='lvis-api'"), (dict(area=0), 'hotcoco', 'annotation 1 of ann_file'),
    (dict(id=2), 'lvis-api', '1 stand there twice')])
def test_bad_annotations(ann_file, tmp_path, monkeypatch, options, backend, message):
    monkeypatch.setattr(lvis_backends, 'is_installed', lambda name: True)
    data = json.loads(Path(ann_file).read_text())
    data['annotations'][0].update(options)
    (tmp_path / 'gt.json').write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message):
        LVISMetric(str(tmp_path / 'gt.json'), backend=backend)
    del data['images'][2]['neg_category_ids']
    (tmp_path / 'gt.json').write_text(json.dumps(data))
    with pytest.raises(ValueError, match='neg_category_ids and not_exhaustive_category_ids for every image'):
        LVISMetric(str(tmp_path / 'gt.json'))


def test_missing_packages_are_named(ann_file, monkeypatch):
    monkeypatch.setattr(lvis_backends, 'is_installed', lambda name: False)
    with pytest.raises(ImportError, match='pip install hotcoco'):
        LVISMetric(ann_file, backend='hotcoco')
    code = '''
import importlib.util as u
find = u.find_spec
u.find_spec = lambda name, *a: None if name == "mmdet" else find(name, *a)
from mmcausal.evaluation import ShotAccuracy
from mmcausal.evaluation import LVISMetric
'''
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert 'ImportError: mmcausal needs mmdet' in result.stderr, result.stderr


# Real annotations

def real_ann_file(name, folder):
    if 'MMCAUSAL_DATA' not in os.environ:
        pytest.skip(f'real LVIS: MMCAUSAL_DATA does not name a folder with lvis/{name}.json.gz')
    packed = Path(os.environ['MMCAUSAL_DATA']) / f'lvis/{name}.json.gz'
    (folder / 'lvis.json').write_bytes(gzip.decompress(packed.read_bytes()))
    return str(folder / 'lvis.json')


def real_samples(ann_file, seed):
    """Moved objects with right, wrong and unseen classes and few distinct scores, none in every tenth image.

    The smallest image has more than 300 detections.
    """
    rng, truth = np.random.default_rng(seed), LVIS(ann_file)
    labels = {id: label for label, id in enumerate(truth.get_cat_ids())}
    crowded = min(truth.imgs.values(), key=lambda image: image['height'] * image['width'])['id']
    samples = []
    for n, (img_id, image) in enumerate(truth.imgs.items()):
        found = []
        shape = image['height'], image['width']
        for annotation in truth.img_ann_map[img_id] if n % 10 else []:
            mask = truth.ann_to_mask(annotation).astype(bool)
            for _ in range(rng.integers(1, 3)):
                wrong = rng.random() < .2
                label = rng.integers(len(labels)) if wrong else labels[annotation['category_id']]
                box = np.array(annotation['bbox']) * (1 + rng.normal(0, .05, 4))
                found.append((box, np.roll(mask, rng.integers(-3, 4, 2), (0, 1)), label))
        for _ in range(320 if img_id == crowded else 2):
            negative = rng.choice([0, *[labels[id] for id in image['neg_category_ids']]])
            mask = np.zeros(shape, dtype=bool)
            mask[:20, :30] = True
            found.append((np.array([0, 0, 30, 20]), mask, negative))
        if found and n % 3 == 0:  # empty ones, of the classes that are there
            found.append((np.array([5, 5, 0, 0]), np.zeros(shape, dtype=bool), found[0][2]))
        found = found if n % 10 or img_id == crowded else []
        boxes, masks, classes = zip(*found) if found else ([], [], [])
        samples.append(sample(img_id, shape, boxes, rng.integers(1, 30, len(boxes)) / 30, classes, masks))
    return samples


@pytest.mark.parametrize('name, seed', [('lvis_val_100', 0), ('tiny_lvis_v1_val2017', 1), ('tiny_lvis_v1_val2017', 2)])
def test_backends_agree_on_real_annotations(name, seed, tmp_path):
    pytest.importorskip('hotcoco')
    ann_file = real_ann_file(name, tmp_path)
    samples = real_samples(ann_file, seed)
    prefix = str(tmp_path / 'results')
    fast = evaluate(LVISMetric(ann_file, ['bbox', 'segm'], backend='hotcoco', outfile_prefix=prefix), samples)
    for metric in ('bbox', 'segm'):
        values = {f: fast[f'lvis/{metric}_{f}'] for f in FIGURES}
        assert official(ann_file, f'{prefix}.{metric}.json', metric) == pytest.approx(values, abs=1e-5)
        assert 0 < values['AP'] < 1
