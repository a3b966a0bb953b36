"""Generate the long-tailed shapes: images and LVIS annotations to train a detector on a CPU."""
import argparse
import json
from collections import Counter
from pathlib import Path

from mmcausal.commands import integer_argument, plain_errors
from mmcausal.datasets.shapes import make_shapes_dataset
from mmcausal.encoding import use_utf8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('out_dir', type=Path, help='folder for annotations/, train/ and val/')
    parser.add_argument('--num-train', type=int, default=300, help='training images, long-tailed')
    parser.add_argument('--num-val', type=int, default=100, help='validation images, balanced')
    parser.add_argument('--num-classes', type=int, default=24, help='pairs of texture and shape, at most 60')
    parser.add_argument('--imbalance-ratio', type=float, default=100, help='most frequent class over rarest')
    parser.add_argument('--image-size', type=int, default=320, help='width and height in pixels')
    parser.add_argument('--seed', type=integer_argument(0), default=0, help='seed of all random choices')
    return parser.parse_args()


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    train_file, val_file = make_shapes_dataset(**vars(args), report=print)
    categories = json.loads(train_file.read_text(encoding='utf-8'))['categories']
    groups = Counter(category['frequency'] for category in categories)
    print(f'Classes: {groups["f"]} frequent, {groups["c"]} common, {groups["r"]} rare')
    print(f'Annotations: {train_file} and {val_file}')


if __name__ == '__main__':
    main()
