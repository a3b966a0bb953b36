"""Annotations in COCO format, detections for them, and AP by category from pycocotools alone."""
import json

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.lvis_data import blob, box_of, random_samples, runs, small_truth


def coco_truth():
    """Return six images: category ids with gaps and not in order, one category of crowds alone, one without any."""
    truth = small_truth()
    rng = np.random.default_rng(1)
    truth['categories'] = [dict(id=c['id'], name=c['name']) for c in truth['categories']] + [dict(id=80, name='c80')]
    crowd = dict(truth['annotations'][0], category_id=80, iscrowd=1)
    over = dict(truth['annotations'][1], category_id=9, iscrowd=1, mask=blob(rng, 150))
    truth['annotations'] = [dict(a, iscrowd=0) for a in truth['annotations']] + [crowd, over]
    for index, annotation in enumerate(truth['annotations']):
        mask = annotation['mask']
        annotation.update(id=7 + 3 * index, bbox=box_of(mask), area=int(mask.sum()), segmentation=runs(mask))
    return truth


def write_truth(file, truth):
    annotations = [{k: v for k, v in a.items() if k != 'mask'} for a in truth['annotations']]
    file.write_text(json.dumps(dict(truth, annotations=annotations)))
    return str(file)


def coco_samples(truth, seed=0):
    """Return detections as a detector makes them; labels follow the categories of the file."""
    return random_samples(truth, seed)


def moved_truth(coco, cat_ids, seed=0):
    """Return detections for real images: ground truth moved a little, some with a wrong class, and false ones."""
    rng = np.random.default_rng(seed)
    samples = []
    for img_id in coco.getImgIds():
        info = coco.loadImgs(img_id)[0]
        masks, labels = [], []
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=img_id, catIds=cat_ids)):
            for _ in range(2):
                mask = np.roll(coco.annToMask(annotation).astype(bool), rng.integers(-5, 6, 2), (0, 1))
                if mask.any():
                    masks.append(mask)
                    own = cat_ids.index(annotation['category_id'])
                    labels.append(own if rng.random() < .8 else rng.integers(len(cat_ids)))
        boxes = torch.tensor([box_of(m) for m in masks], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        shape = (info['height'], info['width'])
        instances = dict(bboxes=boxes, scores=torch.from_numpy(rng.random(len(masks)).astype(np.float32)),
                         labels=torch.tensor(labels, dtype=torch.long),
                         masks=torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, *shape).bool())
        samples.append(dict(img_id=img_id, ori_shape=shape, pred_instances=instances))
    return samples


def detections_of(samples, cat_ids, metric):
    """Return the detections in the format of COCO's results."""
    from pycocotools.mask import encode
    detections = []
    for sample in samples:
        instances = sample['pred_instances']
        scores = instances.get('mask_scores', instances['scores']) if metric == 'segm' else instances['scores']
        for index, (label, score) in enumerate(zip(instances['labels'].tolist(), scores.tolist())):
            detection = dict(image_id=sample['img_id'], category_id=cat_ids[label], score=score)
            if metric == 'bbox':
                x, y, right, bottom = instances['bboxes'][index].tolist()
                detection['bbox'] = [x, y, right - x, bottom - y]
            else:
                detection['segmentation'] = encode(np.asfortranarray(instances['masks'][index].numpy().astype('uint8')))
            detections.append(detection)
    return detections


def category_ap(ann_file, samples, cat_ids, metric):
    """Return the AP of each category, evaluated alone by pycocotools with its own settings; None without truth."""
    truth = COCO(ann_file)
    found = truth.loadRes(detections_of(samples, cat_ids, metric))
    values = []
    for cat_id in cat_ids:
        evaluation = COCOeval(truth, found, metric)
        evaluation.params.catIds = [cat_id]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        values.append(evaluation.stats[0] if evaluation.stats[0] >= 0 else None)
    return values
