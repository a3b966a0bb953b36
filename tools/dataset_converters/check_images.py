"""Check the images of a config before a long training.

For lists and folders of images: prints the number of images and classes of each split, and the md5 sum of a list, and
checks each image once. Reports lists that are missing or differ from the config's, images that are missing, empty,
truncated or not images, and images with the same content in two splits. The exit status is 1 if there are any.
"""
import argparse
import hashlib
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

import cv2
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress

from mmcausal.commands import (
    add_options_argument,
    add_overwrite_argument,
    check_outputs,
    file_argument,
    plain_errors,
)
from mmcausal.config_files import errors_naming, read_config, scope_of
from mmcausal.datasets.image_list import CheckedImages
from mmcausal.encoding import use_utf8
from mmcausal.files import check_output, write_text
from mmcausal.registry import DATASETS

SPLITS = ('train', 'val', 'test')
# Compressed data cannot hold the end-of-image marker. Some cameras write a little after it, some phones a film.
JPEG_START, JPEG_SCAN, JPEG_END, JPEG_TAIL = b'\xff\xd8', b'\xff\xda', b'\xff\xd9', 1024


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=file_argument)
    parser.add_argument('--show', type=int, default=10, help='number of unreadable images and copies to print')
    parser.add_argument('--out', type=Path, help='file for the paths of all unreadable images')
    add_overwrite_argument(parser)
    add_options_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def list_splits(cfg: Config) -> Dict[str, Dict[str, Any]]:
    """Return the config of each split's dataset, without splits that repeat another."""
    splits: Dict[str, Dict[str, Any]] = {}
    for split in SPLITS:
        if not cfg.get(f'{split}_dataloader'):  # the config only tests
            continue
        dataset = dict(cfg[f'{split}_dataloader'].dataset, pipeline=[])
        try:
            kind = dataset['type'] if isinstance(dataset['type'], type) else DATASETS.get(dataset['type'])
        except KeyError as error:  # misspelt
            sys.exit(f'the {split} split: {error.args[0]}')
        if kind is None or not issubclass(kind, CheckedImages):
            sys.exit(f"the {split} split must be an ImageList or ImageFolder, but is a {dataset['type']}")
        if dataset not in splits.values():
            splits[split] = dataset
    if not splits:
        raise ValueError(f'no {SPLITS[0]}_dataloader, {SPLITS[1]}_dataloader or {SPLITS[2]}_dataloader')
    return splits


def build_images(split: str, arguments: Dict[str, Any]) -> Optional[CheckedImages]:
    """Build the dataset of a split; if its list or folder is wrong, print the error and return ``None``."""
    try:
        return DATASETS.build(arguments)
    except (OSError, ValueError) as error:
        print(f'{split}: {error}\n  its images were not checked')
        return None


def paths_of(dataset: CheckedImages) -> List[str]:
    return [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]


def describe(dataset: CheckedImages) -> str:
    labels, paths = dataset.get_gt_labels(), paths_of(dataset)
    repeated = len(paths) - len(set(paths))
    parts = [f'{len(dataset)} images of {len(set(labels.tolist()))} classes']
    if repeated:
        parts.append(f'{repeated} of them repeated')
    if dataset.ann_file:
        md5 = hashlib.md5(Path(dataset.ann_file).read_bytes()).hexdigest()
        parts.append(f'md5 {md5}, {"as in the config" if dataset.md5 else "not in the config"}')
    return ', '.join(parts)


def has_end(jpeg: bytes) -> bool:
    """Return whether a JPEG has an end-of-image marker after its segments, which may hold a whole thumbnail."""
    position = len(JPEG_START)
    while jpeg[position:position + 1] == JPEG_SCAN[:1] and jpeg[position:position + 2] != JPEG_SCAN:
        position += 2 + int.from_bytes(jpeg[position + 2:position + 4], 'big')
    return jpeg[position:position + 2] == JPEG_SCAN and JPEG_END in jpeg[position:]


def find_fault(path: str) -> Optional[str]:
    """Return the reason why the image cannot be read, judged by its first bytes and a JPEG's end, or ``None``."""
    try:
        with open(path, 'rb') as file:
            start = file.read(len(JPEG_START))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - JPEG_TAIL, 0))
            tail = file.read()
    except OSError as error:
        return error.strerror
    if size == 0:
        return 'empty'
    if start == JPEG_START and JPEG_END not in tail and not has_end(Path(path).read_bytes()):
        return 'truncated: a JPEG without its end-of-image marker'
    if not cv2.haveImageReader(path):
        return 'not an image that OpenCV can read, by its first bytes'
    return None


def find_faults(dataset: CheckedImages) -> Dict[str, str]:
    """Return the unreadable images of a dataset by path, each with the reason."""
    faults = {path: find_fault(path) for path in track_iter_progress(paths_of(dataset))}
    return {path: fault for path, fault in faults.items() if fault}


def find_copies(splits: Dict[str, List[str]]) -> List[List[str]]:
    """Return groups of files with the same content in more than one split. Only files of one size are read."""
    by_size: Dict[int, Set[Tuple[str, str]]] = defaultdict(set)
    for split, paths in splits.items():
        for path in paths:
            by_size[os.path.getsize(path)].add((split, path))
    by_content: Dict[bytes, Set[Tuple[str, str]]] = defaultdict(set)
    for files in by_size.values():
        if len({split for split, _ in files}) > 1:
            for split, path in files:
                by_content[hashlib.sha256(Path(path).read_bytes()).digest()].add((split, path))
    return sorted(sorted(path for _, path in files) for files in by_content.values()
                  if len({split for split, _ in files}) > 1)


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(scope_of(cfg))
    unreadable: List[str] = []
    readable: Dict[str, List[str]] = {}
    num_refused = 0
    with errors_naming(f'{args.config} must have dataloaders of images'):
        splits = list_splits(cfg)
    for split, arguments in splits.items():
        dataset = build_images(split, arguments)
        if dataset is None:
            num_refused += 1
            continue
        if args.out and dataset.ann_file:
            check_output(args.out, [dataset.ann_file], args.overwrite)
        print(f'{split}: {dataset.ann_file or dataset.img_prefix}\n  {describe(dataset)}')
        faults = find_faults(dataset)
        print(f'\n  {len(faults)} unreadable')
        for path in list(faults)[:args.show]:
            print(f'    {path}: {faults[path]}')
        unreadable += faults
        readable[split] = [path for path in paths_of(dataset) if path not in faults]
    copies = find_copies(readable)
    if copies:
        print(f'{len(copies)} images are in more than one split, the first ones:')
        for paths in copies[:args.show]:
            print(f'    {" = ".join(paths)}')
    if args.out:
        write_text(args.out, ''.join(f'{path}\n' for path in unreadable), errors='surrogateescape')
    sys.exit(1 if unreadable or copies or num_refused else 0)


if __name__ == '__main__':
    main()
