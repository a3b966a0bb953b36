"""Compare a folder of images with the lists of a config, before a long training finds out.

For ImageNet-LT, Places-LT and iNaturalist configs: reads the list of every split, says how many images and classes it
has and its md5 sum, and looks for each image once. Missing images are named; the exit status is 1 where there are any.
"""
import argparse
import hashlib
import sys
from pathlib import Path
from typing import Dict, List

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress

from mmcausal.datasets import ImageList
from mmcausal.registry import DATASETS

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--show', type=int, default=10, help='how many missing images to name for each split')
    parser.add_argument('--out', type=Path, help='file for the names of all missing images')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config')
    return parser.parse_args()


def load_splits(cfg: Config) -> Dict[str, ImageList]:
    """The data set of each split; a split that is another's twin is left out."""
    splits: Dict[str, ImageList] = {}
    for split in SPLITS:
        dataset = DATASETS.build(dict(cfg[f'{split}_dataloader'].dataset, pipeline=[]))
        if not isinstance(dataset, ImageList):
            sys.exit(f'the {split} split is a {type(dataset).__name__}, not a list of images')
        if dataset.ann_file not in (other.ann_file for other in splits.values()):
            splits[split] = dataset
    return splits


def missing_images(dataset: ImageList) -> List[str]:
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    return [path for path in track_iter_progress(paths) if not Path(path).exists()]


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    missing: List[str] = []
    for split, dataset in load_splits(cfg).items():
        labels = dataset.get_gt_labels()
        print(f'{split}: {dataset.ann_file}\n  {len(dataset)} images of {len(set(labels.tolist()))} classes, md5 '
              f'{hashlib.md5(Path(dataset.ann_file).read_bytes()).hexdigest()}')
        absent = missing_images(dataset)
        print(f'\n  {len(absent)} missing')
        for path in absent[:args.show]:
            print(f'    {path}')
        missing += absent
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(''.join(f'{path}\n' for path in missing))
    sys.exit(1 if missing else 0)


if __name__ == '__main__':
    main()
