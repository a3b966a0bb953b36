"""A small dataset in LVIS format, and detections for it."""
import numpy as np
import torch

SIDE = 160


def blob(rng, scale):
    """Return a rectangle without its lower right quarter, so that mask and box differ in area."""
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
    """Return uncompressed RLE: run lengths in column order, beginning with the zeros."""
    flat = mask.T.reshape(-1).astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, len(flat)]).tolist()
    return dict(size=list(mask.shape), counts=[0, *lengths] if flat[0] else lengths)


def small_truth():
    """Return six images, categories in another order than their ids, and no ground truth for category 2."""
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


def sample(img_id, shape, boxes, scores, labels, masks=None, mask_scores=None):
    """Return one image as a detector returns it; boxes are x, y, w, h."""
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
    """Return moved ground truth and blobs, with the right class or a wrong one, and nothing in image 40."""
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
