"""Write the digits of scikit-learn as a long-tailed folder of images, to try the guide for your own data.

Writes OUT_DIR/train/CLASS/*.png and OUT_DIR/test/CLASS/*.png: real scans of handwritten digits, with 110 training
images of the most frequent class and 11 of the rarest, so that each can spare 10 for validation, and 50 test images.
"""
import argparse
from collections import Counter
from pathlib import Path

import cv2

from mmcausal.commands import plain_errors
from mmcausal.datasets import LongTailedDigits
from mmcausal.encoding import use_utf8

NAMES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
IMBALANCE_RATIO = 100  # without the images to spare
SPARE = 10


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out_dir', type=Path, help='a folder that does not exist')
    args = parser.parse_args()
    if args.out_dir.exists():
        parser.error(f'{args.out_dir} exists; nothing was written')
    return args


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    for folder, splits in (('train', ('train', 'val')), ('test', ('test', ))):
        written: Counter = Counter()
        for split in splits:
            dataset, of_split = LongTailedDigits(split, IMBALANCE_RATIO), Counter()
            for index in range(len(dataset)):
                info = dataset.get_data_info(index)
                name = NAMES[info['gt_label']]
                if split == 'val' and of_split[name] == SPARE:
                    continue
                path = args.out_dir / folder / name / f'{split}_{index:04d}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode('.png', info['img'])[1].tobytes())
                of_split[name] += 1
            written += of_split
        print(f'{args.out_dir / folder}: {sum(written.values())} images, {max(written.values())} to '
              f'{min(written.values())} of a class')


if __name__ == '__main__':
    main()
