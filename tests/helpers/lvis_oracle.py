"""LVIS metrics from their definition, in plain loops, and from lvis-api."""
import numpy as np
from lvis import LVIS, LVISEval, LVISResults

FIGURES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
THRESHOLDS, RECALLS = np.linspace(.5, .95, 10).tolist(), np.linspace(0, 1, 101).tolist()
SIZES = {'': (0, 1e10), 's': (0, 32**2), 'm': (32**2, 96**2), 'l': (96**2, 1e10)}


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
    """Return (score, hit) of the detections that count, and the number of objects that count."""
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


def official(ann_file, file, metric):
    evaluation = LVISEval(LVIS(ann_file), LVISResults(LVIS(ann_file), str(file)), metric)
    evaluation.run()
    return {figure: evaluation.get_results()[figure] for figure in FIGURES}
