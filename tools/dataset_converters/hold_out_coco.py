"""Split an annotation file in COCO format into images to train on and held-out images, by which alpha can be chosen.

The held-out images are as balanced over the categories as images of several categories allow. At least one training
image of each category stays, and so do images without annotations. The images themselves stay where they are.
"""
import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Dict

from mmcausal.checks import check_number, did_you_mean
from mmcausal.coco_annotations import (
    hold_out_images,
    image_counts,
    images_by_category,
    load_annotations,
    split_annotations,
)
from mmcausal.commands import add_overwrite_argument, check_outputs, plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.files import write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', type=Path, help='annotation file of the training images')
    parser.add_argument('train', type=Path, help='new annotation file of the images to train on')
    parser.add_argument('held_out', type=Path, help='new annotation file of the held-out images')
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument('--per-category', type=int, help='number of held-out images of each category, or more')
    size.add_argument('--fraction', type=float, help='share of the images of each category, rounded down')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='the categories that you train; default all')
    parser.add_argument('--seed', type=int, default=0)
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.train, args.held_out)
    return args


def wanted_images(content: dict, args: argparse.Namespace) -> Dict[int, int]:
    """Return the number of images to hold out, by category id, of the categories that matter."""
    ids = {category['name']: category['id'] for category in content['categories']}
    for name in args.classes or ():
        if name not in ids:
            raise ValueError(f'--classes must be categories of {args.annotations}, but got {name!r}'
                             f'{did_you_mean(name, ids)}')
    counts = image_counts(content)
    names = args.classes or list(ids)
    if args.per_category is None:
        # As it was typed: 0.29 * 100 is less than 29 in floats
        fraction = Fraction(str(check_number('--fraction', args.fraction, '(0, 1)')))
        return {ids[name]: int(fraction * counts[name]) for name in names}
    number = int(check_number('--per-category', args.per_category, '[1, inf)'))
    return {ids[name]: number for name in names}


def check_images(content: dict) -> None:
    """Raise ``ValueError`` if a file has two ids: it could be on both sides."""
    seen = set()
    for image in content['images']:
        name = image.get('file_name', image.get('coco_url', image['id']))
        if name in seen:
            raise ValueError(f'each image must be in the file once, but {name} is there twice')
        seen.add(name)


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    content = load_annotations(str(args.annotations), 'annotations')
    check_images(content)
    wanted = wanted_images(content, args)
    held_out = hold_out_images(content, wanted, args.seed)
    images = images_by_category(content)
    if not any(images[category] for category in wanted):
        sys.exit(f'{args.annotations} must have training images of the categories, but none of {len(wanted)} has one')
    if not held_out:
        sys.exit(f'no category has enough images to hold out one: --fraction {args.fraction} must be larger')
    unused = [category['name'] for category in content['categories']
              if category['id'] in wanted and not images[category['id']]]
    if unused:
        print(f'No training image: {", ".join(map(repr, unused))}')
    for file, part in zip((args.train, args.held_out), split_annotations(content, held_out)):
        write_text(file, json.dumps(part))
        counts = [len(ids) for category, ids in images_by_category(part).items() if ids and category in wanted]
        print(f'{file}: {len(part["images"])} images, {min(counts)} to {max(counts)} of each category')


if __name__ == '__main__':
    main()
