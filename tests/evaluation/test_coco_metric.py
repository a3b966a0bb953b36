"""AP of groups of categories against AP of each category, evaluated alone by pycocotools."""
import json
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.coco_data import category_ap, coco_samples, coco_truth, moved_truth, write_truth
from mmdet.evaluation.evaluator import MultiDatasetsEvaluator
from mmdet.evaluation.metrics import coco_metric as host
from mmengine.logging import MMLogger
from pycocotools.coco import COCO

from mmcausal.evaluation import CocoMetric

CLASSES = ('c7', 'c2', 'c5', 'c9', 'c4', 'c80')  # in the order of the file, their ids are 7, 2, 5, 9, 4, 80
COUNTS = dict(c7=10, c2=3, c5=11, c9=101, c4=200, c80=0)
GROUPS = dict(APr=('c7', 'c2', 'c80'), APc=('c5', ), APf=('c9', 'c4'))


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    truth = coco_truth()
    return truth, write_truth(tmp_path_factory.mktemp('coco') / 'val.json', truth)


def evaluate(samples, metric='bbox', metainfo=None, **kwargs):
    evaluator = CocoMetric(metric=metric, **kwargs)
    evaluator.dataset_meta = metainfo or dict(classes=CLASSES)
    evaluator.process({}, samples)
    return evaluator.evaluate(len(samples))


def mean_by_group(aps, groups=GROUPS, classes=CLASSES):
    by_name = dict(zip(classes, aps))
    means = {}
    for group, names in groups.items():
        known = [by_name[name] for name in names if by_name[name] is not None]
        means[group] = sum(known) / len(known) if known else -1
    return means


@pytest.mark.parametrize('use_mp_eval', [False, True])
def test_groups_are_means_over_their_categories(coco, use_mp_eval):
    truth, ann_file = coco
    samples = coco_samples(truth)
    result = evaluate(samples, ['bbox', 'segm'], ann_file=ann_file, class_counts=COUNTS, use_mp_eval=use_mp_eval)
    for kind in ('bbox', 'segm'):
        aps = category_ap(ann_file, samples, [c['id'] for c in truth['categories']], kind)
        assert aps[1] is None and aps[5] is None  # no ground truth, and crowds alone
        for group, value in mean_by_group(aps).items():
            assert 0 < value < 1 and result[f'coco/{kind}_{group}'] == pytest.approx(value, abs=1e-12)
        assert result[f'coco/{kind}_mAP'] == pytest.approx(np.mean([ap for ap in aps if ap is not None]), abs=5e-4)


def test_the_rest_is_the_host(coco, tmp_path):
    truth, ann_file = coco
    samples, meta = coco_samples(truth), dict(classes=CLASSES)
    arguments = dict(ann_file=ann_file, metric=['proposal', 'bbox', 'segm'])
    own = CocoMetric(class_counts=COUNTS, **arguments)
    stock = host.CocoMetric(**arguments)
    for metric in (own, stock):
        metric.dataset_meta = meta
        metric.process({}, samples)
    result, expected = own.evaluate(6), stock.evaluate(6)
    assert set(result) - set(expected) == {f'coco/{kind}_AP{letter}' for kind in ('bbox', 'segm') for letter in 'rcf'}
    assert {key: result[key] for key in expected} == expected
    assert host.COCOeval.__module__ == 'pycocotools.cocoeval'  # as before
    assert not {key for key in evaluate(samples, 'proposal', ann_file=ann_file) if '_AP' in key}
    assert evaluate(samples, ann_file=ann_file, format_only=True, outfile_prefix=str(tmp_path / 'results')) == {}
    assert json.loads((tmp_path / 'results.bbox.json').read_text())[0]['category_id'] in (7, 2, 5, 9, 4, 80)


def test_classwise_names_the_right_categories(coco):
    """The host reads the categories by label, but COCOeval sorts them by id: 2, 4, 5, 7, 9, 80."""
    truth, ann_file = coco
    samples = coco_samples(truth)
    result = evaluate(samples, ann_file=ann_file, class_counts=COUNTS, classwise=True)
    for name, ap in zip(CLASSES, category_ap(ann_file, samples, [7, 2, 5, 9, 4, 80], 'bbox')):
        assert result[f'coco/{name}_precision'] == pytest.approx(ap, abs=5e-4) if ap is not None else True


def test_only_one_evaluation_and_a_clean_host_after_an_error(coco, monkeypatch):
    truth, ann_file = coco
    calls, accumulate = [], host.COCOeval.accumulate
    monkeypatch.setattr(host.COCOeval, 'accumulate', lambda *args: (calls.append(1), accumulate(*args)))
    evaluate(coco_samples(truth), ['bbox', 'segm'], ann_file=ann_file, class_counts=COUNTS)
    assert len(calls) == 2
    stock = host.COCOeval
    with pytest.raises(KeyError, match='segm is not in results'):
        evaluate(without_masks(coco_samples(truth)), 'segm', ann_file=ann_file, class_counts=COUNTS)
    assert host.COCOeval is stock


def without_masks(samples):
    for sample in samples:
        del sample['pred_instances']['masks']
    return samples


def test_no_detections(coco):
    samples = coco_samples(coco[0])
    for sample in samples:
        sample['pred_instances'] = {key: value[:0] for key, value in sample['pred_instances'].items()}
    result = evaluate(samples, ['bbox', 'segm'], ann_file=coco[1], class_counts=COUNTS)
    assert len(result) == 18 and not any(result.values())


def test_groups_by_quantiles_and_by_name(coco):
    truth, ann_file = coco
    samples = coco_samples(truth)
    aps = category_ap(ann_file, samples, [7, 2, 5, 9, 4, 80], 'bbox')
    # by their images: c80, c2 | c7, c5 | c9, c4
    result = evaluate(samples, ann_file=ann_file, class_counts=COUNTS, groups=(1 / 3, 2 / 3))
    groups = dict(APr=('c80', 'c2'), APc=('c7', 'c5'), APf=('c9', 'c4'))
    assert {name: result[f'coco/bbox_{name}'] for name in groups} == pytest.approx(mean_by_group(aps, groups))
    assert result['coco/bbox_APr'] == -1  # no ground truth
    result = evaluate(samples, ann_file=ann_file, groups=dict(sea=['c4', 0], air=['c5']))  # needs no counts
    named = {'AP_sea': ('c4', 'c7'), 'AP_air': ('c5', )}
    assert {name: result[f'coco/bbox_{name}'] for name in named} == pytest.approx(mean_by_group(aps, named))


def test_training_images_are_counted(coco, tmp_path, caplog):
    """One image per category and image, whatever its annotations; crowds and ignored annotations do not count."""
    truth, ann_file = coco
    train = dict(images=[dict(id=i) for i in range(12)], categories=[
        dict(id=11 * i, name=name) for i, name in enumerate(('other', 'c7', 'c2', 'c5', 'x', 'c9', 'c4', 'c80'))])
    train['annotations'] = [dict(id=i, image_id=image, category_id=11 * category, **flags) for i, (
        category, image, flags) in enumerate([(1, 0, {}), (1, 0, {}), (1, 3, dict(iscrowd=0)), (2, 4, dict(iscrowd=1)),
                                              (3, 5, dict(ignore=1)), (0, 1, {}), (5, 9, {}), (6, 11, {})])]
    file = tmp_path / 'train.json'
    file.write_text(json.dumps(train))
    MMLogger.get_current_instance().addHandler(caplog.handler)
    metric = CocoMetric(ann_file=ann_file, train_ann_file=str(file), rare=0, common=1)
    metric.dataset_meta = dict(classes=CLASSES)
    assert metric.counts.tolist() == [2, 0, 0, 1, 1, 0]
    assert "3 of 6 categories have no training image: 'c2' (rare), 'c5' (rare), 'c80' (rare)" in caplog.text
    metric.process({}, coco_samples(truth))
    metric.evaluate(6)
    assert 'AP by training images per category' in caplog.text and re.search(r'\nrare +3 +1 ', caplog.text)
    with pytest.raises(ValueError, match="first is class 'c7', label 0: 2 here, 9 in the dataset's"):
        metric.dataset_meta = dict(classes=CLASSES, class_counts=[9, 0, 0, 1, 1, 0])
    file.write_text(json.dumps(dict(train, categories=train['categories'][::-1])))
    with pytest.raises(ValueError, match="must be in the order .*train.json has the order 'c80', 'c4'"):
        metric.dataset_meta = dict(classes=CLASSES)


@pytest.mark.parametrize('metainfo, arguments, words', [
    ({}, {}, 'needs the training images per category: set train_ann_file or class_counts'),
    ({}, dict(groups=(.3, .6)), 'needs the training images per category'),
    ({}, dict(class_counts=dict(COUNTS, c8=3)), "'c8' is none of its 6 classes"),
    (dict(class_counts=[1] * 6), dict(class_counts=[1, 1, 1, 2, 1, 1]), "first is class 'c9', label 3: 2 here, 1 in"),
    (dict(classes=('c7', 'c2', 'dog')), {}, "ann_file must have a category for each of the 3 classes .* named 'dog'"),
    (dict(classes=('c2', 'c7')), {}, "ann_file has the order 'c7', 'c2', and the dataset 'c2', 'c7'"),
    ({}, dict(groups=dict(a=['c7'], b=[0])), "but 0 is in 'a' and in 'b'"),
])
def test_classes_that_do_not_fit(coco, metainfo, arguments, words):
    metric = CocoMetric(ann_file=coco[1], **arguments)
    with pytest.raises(ValueError, match=words):
        metric.dataset_meta = dict(dict(classes=CLASSES), **metainfo)


def test_bad_arguments(coco, tmp_path):
    with pytest.raises(ValueError, match='train_ann_file must not be given with class_counts'):
        CocoMetric(train_ann_file='train.json', class_counts=[1])
    with pytest.raises(ValueError, match='common must be an integer of at least 10, but got 5'):
        CocoMetric(common=5)
    with pytest.raises(ValueError, match='groups must be two quantiles'):
        CocoMetric(groups='auto')
    file = tmp_path / 'train.json'
    metric = CocoMetric(ann_file=coco[1], train_ann_file=str(file))
    with pytest.raises(FileNotFoundError, match='train_ann_file must be an annotation file .*, but there is'):
        metric.dataset_meta = dict(classes=CLASSES)
    for text, words in (('nonsense', 'is not JSON'), ('[]', 'has no list of images'),
                        ('{"images": [], "categories": []}', 'has no list of annotations')):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            metric.dataset_meta = dict(classes=CLASSES)


def test_ground_truth_from_the_dataset():
    """Without ann_file, the host takes the boxes of the data samples as ground truth."""
    boxes = torch.tensor([[10., 10., 50., 60.], [60., 60., 90., 99.]])
    instances = [dict(bbox=box.tolist(), bbox_label=label, ignore_flag=0) for label, box in enumerate(boxes)]
    found = dict(bboxes=boxes, scores=torch.tensor([.9, .8]), labels=torch.tensor([0, 0]))  # the second one is wrong
    samples = [dict(img_id=3, ori_shape=(100, 100), pred_instances=found, instances=instances)]
    meta = dict(classes=('cat', 'dog', 'emu'), class_counts=[500, 3, 0])
    result = evaluate(samples, metainfo=meta)
    assert result['coco/bbox_APf'] == pytest.approx(1) and result['coco/bbox_APr'] == 0
    assert result['coco/bbox_APc'] == -1
    recalls = evaluate(samples, ['proposal_fast', 'bbox'], metainfo=meta)
    assert recalls == dict(result, **{f'coco/AR@{num}': 1 for num in (100, 300, 1000)})


@pytest.fixture(scope='module')
def tiny_coco(tmp_path_factory):
    if 'MMCAUSAL_DATA' not in os.environ:
        pytest.skip('real COCO: MMCAUSAL_DATA does not name a folder with coco/tiny_coco_val2017.tar.gz')
    root = tmp_path_factory.mktemp('tiny')
    with tarfile.open(Path(os.environ['MMCAUSAL_DATA']) / 'coco' / 'tiny_coco_val2017.tar.gz') as archive:
        archive.extractall(root)
    return root / 'tiny_coco' / 'annotations' / 'instances_val2017.json'


@pytest.mark.parametrize('classes', [
    ('person', 'car', 'bus', 'truck', 'dog', 'chair', 'book', 'toothbrush'),
    ('person', 'bicycle', 'car', 'bench', 'bird', 'handbag', 'bottle', 'cup', 'banana', 'chair')])
def test_real_images_equal_pycocotools(tiny_coco, classes):
    """The file has 80 categories, ids to 90, crowds and images without these classes; counts are its own."""
    coco = COCO(str(tiny_coco))
    cat_ids = coco.getCatIds(catNms=list(classes))
    samples = moved_truth(coco, cat_ids)
    counts = {name: len({a['image_id'] for a in coco.dataset['annotations'] if a['category_id'] == cat_id
                         and not a['iscrowd']}) for name, cat_id in zip(classes, cat_ids)}
    metric = CocoMetric(str(tiny_coco), ['bbox', 'segm'], train_ann_file=str(tiny_coco), rare=1, common=5)
    metric.dataset_meta = dict(classes=classes)
    assert metric.counts.tolist() == list(counts.values())
    metric.process({}, samples)
    result = metric.evaluate(len(samples))
    groups = dict(APr=[n for n in classes if counts[n] <= 1], APc=[n for n in classes if 1 < counts[n] <= 5],
                  APf=[n for n in classes if counts[n] > 5])
    assert all(groups.values())
    for kind in ('bbox', 'segm'):
        aps = category_ap(str(tiny_coco), samples, cat_ids, kind)
        for group, value in mean_by_group(aps, groups, classes).items():
            assert result[f'coco/{kind}_{group}'] == pytest.approx(value, abs=1e-9)


def test_one_metric_for_each_member_of_a_concatenation(coco):
    """MultiDatasetsEvaluator gives each metric the list of all meta information, the samples of all, and slices."""
    truth, ann_file = coco
    samples = coco_samples(truth)
    evaluator = MultiDatasetsEvaluator([dict(type='mmcausal.CocoMetric', ann_file=ann_file, class_counts=COUNTS),
                                        dict(type='mmcausal.CocoMetric', ann_file=ann_file, class_counts=COUNTS)],
                                       dataset_prefixes=['a', 'b'])
    evaluator.dataset_meta = [dict(classes=CLASSES, cumulative_sizes=[6, 12], name=name) for name in 'ab']
    evaluator.process(samples * 2, {})
    result, expected = evaluator.evaluate(12), evaluate(samples, ann_file=ann_file, class_counts=COUNTS)
    for prefix in 'ab':
        assert {name: result[f'{prefix}/{name}'] for name in expected} == pytest.approx(expected)
    with pytest.raises(ValueError, match='order'):
        evaluator.metrics[0].dataset_meta = dict(classes=CLASSES[::-1])


def test_sorted_categories_are_those_of_both_files(coco, tmp_path):
    truth, ann_file = coco
    train = tmp_path / 'train.json'
    train.write_text(json.dumps(dict(truth, categories=truth['categories'][::-1], annotations=[
        {key: value for key, value in each.items() if key != 'mask'} for each in truth['annotations']])))
    by_id = [category['name'] for category in sorted(truth['categories'], key=lambda category: category['id'])]
    metric = CocoMetric(ann_file=ann_file, train_ann_file=str(train), sort_categories=True)
    metric.dataset_meta = dict(classes=by_id)
    known = {label: sum(any(a['category_id'] == category and not a.get('iscrowd') for a in truth['annotations']
                            if a['image_id'] == image['id']) for image in truth['images'])
             for label, category in enumerate(sorted(c['id'] for c in truth['categories']))}
    assert metric.counts.tolist() == list(known.values())
    with pytest.raises(ValueError, match='must be in the order of the categories'):
        CocoMetric(ann_file=ann_file, train_ann_file=str(train)).dataset_meta = dict(classes=CLASSES)
