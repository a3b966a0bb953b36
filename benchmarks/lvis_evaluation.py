"""Compare the back-ends of the LVIS metric on invented detections, in time, memory and figures.

Images, objects and detections are drawn at random with the classes, negative classes and crowding of LVIS v1: 1203
categories of which the frequent ones have most objects, about 12 objects an image, and 300 detections an image, half of
which lie near an object. Each back-end runs in a process of its own, so that its peak memory is its own.
"""
import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Dict, List

import numpy as np

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.evaluation import LVISMetric
from mmcausal.files import write_text

CLASSES, OBJECTS, DETECTIONS = 1203, 12, 300


def make_truth(num_images: int, rng: np.random.Generator) -> dict:
    """Return annotations in LVIS format."""
    counts = np.exp(-np.linspace(0, 8, CLASSES))  # a long tail
    frequencies = np.where(counts > counts[400], 'f', np.where(counts > counts[865], 'c', 'r'))
    images, annotations = [], []
    for image_id in range(1, num_images + 1):
        present = rng.choice(CLASSES, rng.integers(1, 8), p=counts / counts.sum())
        images.append(dict(id=image_id, height=480, width=640, not_exhaustive_category_ids=[],
                           neg_category_ids=(1 + rng.choice(CLASSES, 8)).tolist()))
        for label in rng.choice(present, OBJECTS):
            x, y, w, h = rng.uniform((0, 0, 10, 10), (500, 350, 140, 130))
            annotations.append(dict(id=len(annotations) + 1, image_id=image_id, category_id=int(label) + 1,
                                    bbox=[x, y, w, h], area=w * h, segmentation=[[x, y, x + w, y, x + w, y + h]]))
    categories = [dict(id=label + 1, name=f'class {label}', frequency=str(frequencies[label]))
                  for label in range(CLASSES)]
    return dict(images=images, annotations=annotations, categories=categories)


def make_detections(truth: dict, rng: np.random.Generator) -> List[dict]:
    """Return the data samples of a detector."""
    objects: Dict[int, List[dict]] = {}
    for annotation in truth['annotations']:
        objects.setdefault(annotation['image_id'], []).append(annotation)
    samples = []
    for image in truth['images']:
        near = [objects[image['id']][i] for i in rng.integers(OBJECTS, size=DETECTIONS)]
        boxes = np.array([each['bbox'] for each in near]) + rng.normal(0, 6, (DETECTIONS, 4))
        far = rng.random(DETECTIONS) < 0.5
        boxes[far] = rng.uniform((0, 0, 10, 10), (500, 350, 140, 130), (int(far.sum()), 4))
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:].clip(1)
        labels = np.array([each['category_id'] - 1 for each in near])
        others = rng.random(DETECTIONS) < 0.5
        labels[others] = rng.integers(CLASSES, size=int(others.sum()))
        samples.append(dict(img_id=image['id'], bboxes=boxes.astype(np.float32), labels=labels,
                            scores=rng.random(DETECTIONS).astype(np.float32)))
    return samples


def evaluate(backend: str, ann_file: str, samples: List[dict], connection: multiprocessing.connection.Connection
             ) -> None:
    """Send seconds, peak memory and figures of a back-end."""
    metric = LVISMetric(ann_file, backend=backend)
    start = time.perf_counter()
    values = metric.evaluate_predictions([(None, sample) for sample in samples])
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    connection.send(dict(seconds=round(seconds, 2), peak_gb=round(peak, 2), values=values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, nargs='+', default=[333, 1000, 2000], help='300 boxes each')
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    context = multiprocessing.get_context('fork')
    results = []
    for num_images in args.images:
        rng = np.random.default_rng(args.seed)
        truth = make_truth(num_images, rng)
        samples = make_detections(truth, rng)
        row: dict = dict(images=num_images, boxes=num_images * DETECTIONS, runs=[])
        with tempfile.TemporaryDirectory() as folder:
            ann_file = str(Path(folder) / 'truth.json')
            write_text(ann_file, json.dumps(truth))
            for _ in range(args.rounds):
                run = {}
                for backend in ('hotcoco', 'lvis-api'):
                    here, there = context.Pipe()
                    process = context.Process(target=evaluate, args=(backend, ann_file, samples, there))
                    process.start()
                    run[backend] = here.recv()
                    process.join()
                values = [run[backend].pop('values') for backend in run]
                run['largest_difference'] = max(abs(values[0][name] - values[1][name]) for name in values[0])
                run['bbox_AP'] = values[0]['bbox_AP']
                row['runs'].append(run)
                print(json.dumps(dict(row, runs=run)), flush=True)
        row['ratio'] = round(float(np.median([run['lvis-api']['seconds'] / run['hotcoco']['seconds']
                                              for run in row['runs']])), 2)
        results.append(row)
        if args.out:
            write_text(args.out, json.dumps(dict(provenance(), results=results), indent=1) + '\n')


if __name__ == '__main__':
    main()
