"""Write lists of images for mmcausal.ImageList from a folder with one folder of images per class.

Writes OUT_DIR/train.txt, with lines of "CLASS/IMAGE LABEL", and OUT_DIR/classes.txt, the class of each label. With
--val-per-class or --test-per-class, also writes val.txt and test.txt, with as many images of every class, drawn by the
seed and left out of train.txt. If one of these files exists, nothing is written without --overwrite.
"""
import argparse
import sys
from pathlib import Path
from typing import Dict, List

import numpy as np

from mmcausal.commands import add_overwrite_argument, check_outputs, plain_errors
from mmcausal.datasets import ImageFolder
from mmcausal.datasets.long_tail import long_tailed_indices
from mmcausal.encoding import use_utf8
from mmcausal.files import write_text

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder with one folder of images per class')
    parser.add_argument('out_dir', type=Path, help='folder for the lists')
    parser.add_argument('--extensions', nargs='+', metavar='.EXT', help='endings of the images; default: those of '
                        'mmcausal.ImageFolder, and the images with other endings are told')
    parser.add_argument('--val-per-class', type=int, default=0, help='validation images of each class')
    parser.add_argument('--test-per-class', type=int, default=0, help='test images of each class')
    parser.add_argument('--seed', type=int, default=0, help='seed that draws these images')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    for option in ('val_per_class', 'test_per_class', 'seed'):
        if getattr(args, option) < 0:
            parser.error(f'{option} must be at least 0, but got {getattr(args, option)}')
    check_outputs(parser, args, *(args.out_dir / f'{name}.txt' for name in (*SPLITS, 'classes')))
    return args


def split_images(labels: np.ndarray, counts: List[int], val: int, test: int, seed: int) -> Dict[str, np.ndarray]:
    """Return the sorted indices of each split that is not empty."""
    drawn = {'test': long_tailed_indices(labels, [test] * len(counts), seed),
             'val': long_tailed_indices(labels, [val] * len(counts), seed, skip=[test] * len(counts))}
    held_out = np.concatenate(list(drawn.values()))
    drawn['train'] = np.setdiff1d(np.arange(len(labels)), held_out)
    return {split: np.sort(drawn[split]) for split in SPLITS if len(drawn[split])}


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    extensions = dict(extensions=args.extensions) if args.extensions else {}
    dataset = ImageFolder(str(args.folder), train_folder='', **extensions)
    fewest, rarest = min(zip(dataset.metainfo['class_counts'], dataset.CLASSES))
    if args.val_per_class + args.test_per_class >= fewest:
        sys.exit(f'--val-per-class and --test-per-class must leave a training image of each class, but are '
                 f'{args.val_per_class} and {args.test_per_class}: the rarest class, {rarest!r}, has {fewest} images '
                 f'and can spare {fewest - 1}')
    paths = [Path(dataset.get_data_info(index)['img_path']).relative_to(args.folder) for index in range(len(dataset))]
    labels = dataset.get_gt_labels()
    splits = split_images(labels, dataset.metainfo['class_counts'], args.val_per_class, args.test_per_class, args.seed)
    for split in set(SPLITS) - set(splits):
        if (args.out_dir / f'{split}.txt').exists():  # its images may be in another split now
            sys.exit(f'{args.out_dir / split}.txt is a list that this run does not write; remove it first')
    for split, indices in splits.items():
        lines = [f'{paths[index].as_posix()} {labels[index]}\n' for index in indices]
        write_text(args.out_dir / f'{split}.txt', ''.join(lines))
        counts = np.bincount(labels[indices], minlength=len(dataset.CLASSES))
        print(f'{args.out_dir / split}.txt: {len(lines)} images, {counts.max()} to {counts.min()} of a class')
    write_text(args.out_dir / 'classes.txt', ''.join(f'{name}\n' for name in dataset.CLASSES))
    print(f'{args.out_dir / "classes.txt"}: {len(dataset.CLASSES)} classes')


if __name__ == '__main__':
    main()
