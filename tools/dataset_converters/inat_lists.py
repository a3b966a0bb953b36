"""Convert annotations of iNaturalist (train2018.json, val2018.json) to a list of images for mmcausal.ImageList."""
import argparse
import json
from pathlib import Path

from mmcausal.coco_annotations import check_entries
from mmcausal.commands import add_overwrite_argument, check_outputs, plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.files import write_text

FIELDS = dict(images=['id', 'file_name'], annotations=['image_id', 'category_id'])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', type=Path, help='train2018.json or val2018.json')
    parser.add_argument('out', type=Path, help='list of images, e.g. data/inat18/iNaturalist18_train.txt')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def load_annotations(path: Path) -> dict:
    """Return the content of an annotation file.

    Raises:
        ValueError: Not JSON, or without images.
    """
    demand = f'annotations must be a file of iNaturalist, but {path}'
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except ValueError as error:
        raise ValueError(f'{demand} is not JSON: {error}') from error
    check_entries(content, FIELDS, demand)
    if not content['images']:
        raise ValueError(f'{demand} has no image')
    return content


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    content = load_annotations(args.annotations)
    labels = {annotation['image_id']: annotation['category_id'] for annotation in content['annotations']}
    unlabelled = [image for image in content['images'] if image['id'] not in labels]
    if unlabelled:
        raise ValueError(f'{args.annotations} must have an annotation of each image, but has none of '
                         f'{len(unlabelled)}, e.g. {unlabelled[0]["file_name"]}')
    lines = [f"{image['file_name']} {labels[image['id']]}\n" for image in content['images']]
    write_text(args.out, ''.join(lines))
    print(f'{args.out}: {len(lines)} images of {len(set(labels.values()))} classes')


if __name__ == '__main__':
    main()
