"""Convert annotations of iNaturalist (train2018.json, val2018.json) to a list of images for mmcausal.ImageList."""
import argparse
import json
from pathlib import Path

from mmcausal.commands import add_overwrite_argument, check_outputs, plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.files import write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', type=Path, help='train2018.json or val2018.json')
    parser.add_argument('out', type=Path, help='list of images, e.g. data/inat18/iNaturalist18_train.txt')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    content = json.loads(args.annotations.read_text(encoding='utf-8-sig'))
    labels = {annotation['image_id']: annotation['category_id'] for annotation in content['annotations']}
    lines = [f"{image['file_name']} {labels[image['id']]}\n" for image in content['images']]
    write_text(args.out, ''.join(lines))
    print(f'{args.out}: {len(lines)} images of {len(set(labels.values()))} classes')


if __name__ == '__main__':
    main()
