"""Write the long-tailed digits of scikit-learn as a folder of images, to try the guide for your own data.

Writes OUT_DIR/train/CLASS/*.png and OUT_DIR/test/CLASS/*.png: real scans of handwritten digits, with 100 training
images of the most frequent class and 10 of the rarest, and 50 test images of each.
"""
import argparse
from pathlib import Path

import cv2

from mmcausal.datasets import LongTailedDigits
from mmcausal.encoding import use_utf8

NAMES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
IMBALANCE_RATIO = 10


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out_dir', type=Path, help='a folder that does not exist')
    args = parser.parse_args()
    if args.out_dir.exists():
        parser.error(f'{args.out_dir} exists; nothing was written')
    return args


def main() -> None:
    use_utf8()
    args = parse_args()
    for split in ('train', 'test'):
        dataset = LongTailedDigits(split, IMBALANCE_RATIO)
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            path = args.out_dir / split / NAMES[info['gt_label']] / f'{index:04d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode('.png', info['img'])[1].tobytes())
        print(f'{args.out_dir / split}: {len(dataset)} images of {len(NAMES)} classes')


if __name__ == '__main__':
    main()
