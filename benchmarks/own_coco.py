"""Take the categories that a few COCO images have most of through the guide for your own COCO file.

Keeps some categories of an annotation file, with their ids; holds images out for testing and for choosing alpha;
trains a Mask R-CNN of configs/own_data from scratch on small images, for long enough to see that everything runs but
not to detect much; sweeps alpha on the held-out images and tests with the chosen one. Records time and output.
"""
import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import List

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text

ROOT = Path(__file__).resolve().parents[1]
CONFIG = '''_base_ = __import__('mmcausal').config_path('own_data/mask-rcnn_deconfound_r50.py')
classes = {classes!r}
model = __import__('mmcausal').with_num_classes(_base_.model, len(classes))
files = dict(data_root={root!r}, data_prefix=dict(img={images!r}), metainfo=dict(classes=classes))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=files)
val_evaluator = dict(ann_file={root!r} + 'val.json', train_ann_file={root!r} + 'train.json', rare=3, common=10)
test_evaluator = dict(ann_file={root!r} + 'test.json', train_ann_file={root!r} + 'train.json', rare=3, common=10)
'''


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', type=Path, help='annotation file in COCO format')
    parser.add_argument('images', type=Path, help='folder of its images')
    parser.add_argument('--num-classes', type=int, default=8)
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--side', type=int, default=320, help='longer side of the images in pixels')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/own_coco'), help='a new folder')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def keep_categories(args: argparse.Namespace, file: Path) -> List[str]:
    """Write the annotations of the categories with the most images, and return their names in the order of the file."""
    content = json.loads(args.annotations.read_text(encoding='utf-8'))
    pairs = {(a['image_id'], a['category_id']) for a in content['annotations'] if not a['iscrowd']}
    images = Counter(category for _, category in sorted(pairs))
    kept = [category for category, _ in images.most_common(args.num_classes)]
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] in kept]
    content['categories'] = [c for c in content['categories'] if c['id'] in kept]
    write_text(file, json.dumps(content))
    return [category['name'] for category in content['categories']]


def run(*command: object) -> dict:
    """Run a tool, and return its name, its time in seconds and the end of its output."""
    words = [sys.executable, *map(str, command)]
    print(words[1], flush=True)
    start = time.time()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stdout[-3000:])
    return dict(command=' '.join(words[1:]), seconds=round(time.time() - start, 1),
                last_lines=done.stdout.splitlines()[-30:])


def main() -> None:
    args = parse_args()
    root = args.work_dir.resolve()
    root.mkdir(parents=True)
    classes = keep_categories(args, root / 'annotations.json')
    hold_out = 'tools/dataset_converters/hold_out_coco.py'
    steps = [run(hold_out, root / 'annotations.json', root / 'rest.json', root / 'test.json', '--per-category', 2),
             run(hold_out, root / 'rest.json', root / 'train.json', root / 'val.json', '--per-category', 1)]
    config, tde = root / 'detector.py', root / 'detector_tde.py'
    text = CONFIG.format(classes=tuple(classes), root=f'{root}/', images=f'{args.images.resolve()}/')
    write_text(config, text)
    small = [f'{split}_dataloader.dataset.pipeline.{place}.scale=({args.side},{args.side})'
             for split, place in (('train', 2), ('val', 1), ('test', 1))]
    checkpoint = root / 'run' / f'epoch_{args.epochs}.pth'
    steps += [run('tools/train.py', config, '--work-dir', root / 'run', '--cfg-options', 'randomness.seed=0',
                  'model.backbone.init_cfg=None', f'train_cfg.max_epochs={args.epochs}', *small),
              run('tools/analysis/sweep_detector_alpha.py', config, checkpoint, '--features', root / 'proposals',
                  '--write-config', tde, '--cfg-options', *small),
              run('tools/test.py', tde, checkpoint, '--work-dir', root / 'test', '--cfg-options', *small)]
    write_text(args.out, json.dumps(dict(
        provenance(), command=sys.argv, classes=classes, lines_of_config=len(text.splitlines()), epochs=args.epochs,
        steps=steps), indent=1))
    print(sum(step['seconds'] for step in steps), 'seconds')


if __name__ == '__main__':
    main()
