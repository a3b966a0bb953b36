"""The two backends of the LVIS metrics: the annotations that they accept, and their agreement."""
import gzip
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('lvis')

from helpers.lvis_data import SIDE, evaluate, random_samples, sample  # noqa: E402
from helpers.lvis_oracle import FIGURES, official  # noqa: E402
from lvis import LVIS  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from pycocotools.mask import encode  # noqa: E402

from mmcausal.evaluation import LVISMetric, lvis_backends, lvis_metric  # noqa: E402


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


@pytest.mark.parametrize('options, backend, message', [
    (dict(id=0), 'lvis-api', 'at least 1, but got 0'), (dict(iscrowd=1), 'hotcoco', 'annotation 1 of ann_file'),
    (dict(ignore=1), 'hotcoco', "backend='lvis-api'"), (dict(area=0), 'hotcoco', 'annotation 1 of ann_file'),
    (dict(id=2), 'lvis-api', 'must be unique, but 1 are duplicates')])
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


@pytest.mark.parametrize('options, installed, expected', [
    ({}, True, 'hotcoco'), ({}, False, 'lvis-api'), (dict(iscrowd=1), True, 'lvis-api'),
    (dict(area=0), True, 'lvis-api'), (dict(ignore=1), True, 'lvis-api')])
def test_the_fast_backend_is_taken_where_it_agrees(ann_file, tmp_path, monkeypatch, options, installed, expected):
    monkeypatch.setattr(lvis_backends, 'is_installed', lambda name: installed)
    monkeypatch.setattr(lvis_metric, 'HotCoco', lambda *args: SimpleNamespace(name='hotcoco'))
    data = json.loads(Path(ann_file).read_text())
    data['annotations'][0].update(options)
    (tmp_path / 'gt.json').write_text(json.dumps(data))
    assert LVISMetric(str(tmp_path / 'gt.json')).backend.name == expected


def test_annotations_without_an_area_are_for_the_reference(ann_file, tmp_path, monkeypatch):
    monkeypatch.setattr(lvis_backends, 'is_installed', lambda name: True)
    data = json.loads(Path(ann_file).read_text())
    del data['annotations'][0]['area']
    (tmp_path / 'gt.json').write_text(json.dumps(data))
    assert LVISMetric(str(tmp_path / 'gt.json')).backend.name == 'lvis-api'


@pytest.mark.parametrize('backend', ['auto', 'lvis-api', 'hotcoco'])
def test_the_log_says_what_runs_and_for_how_long(truth, ann_file, backend, caplog):
    if backend == 'hotcoco':
        pytest.importorskip('hotcoco')
    metric = LVISMetric(ann_file, backend=backend)
    with patch.object(MMLogger, 'get_current_instance', lambda: logging.getLogger('lvis_test')):
        with caplog.at_level(logging.INFO, 'lvis_test'):
            evaluate(metric, random_samples(truth, seed=1))
    name = metric.backend.name
    assert f'images, matched by {name}' in caplog.text
    assert re.search(rf'{name} took \d+\.\d s; this process has held at most \d+\.\d GB', caplog.text)
    tenths = re.findall(r'lvis-api: (\d+) % of \d+ comparisons', caplog.text)
    assert tenths == ([str(10 * n) for n in range(1, 11)] if name == 'lvis-api' else [])


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
    """Return moved objects with right, wrong and unseen classes and few distinct scores; every tenth image is empty.

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
