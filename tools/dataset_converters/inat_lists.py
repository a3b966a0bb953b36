"""Convert annotations of iNaturalist (train2018.json, val2018.json) to a list of images for mmcausal.ImageList."""
import argparse
import json
from pathlib import Path

from mmcausal.commands import plain_errors
from mmcausal.encoding import use_utf8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', type=Path, help='train2018.json or val2018.json')
    parser.add_argument('out', type=Path, help='list of images, e.g. data/inat18/iNaturalist18_train.txt')
    return parser.parse_args()


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    content = json.loads(args.annotations.read_text(encoding='utf-8-sig'))
    labels = {annotation['image_id']: annotation['category_id'] for annotation in content['annotations']}
    lines = [f"{image['file_name']} {labels[image['id']]}\n" for image in content['images']]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(''.join(lines), encoding='utf-8')
    print(f'{args.out}: {len(lines)} images of {len(set(labels.values()))} classes')


if __name__ == '__main__':
    main()
