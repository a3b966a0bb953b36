"""Annotation files in COCO format: their categories, and the training images of each."""
from collections import defaultdict
from typing import Dict, List, Optional, Sequence, Set

from mmengine.fileio import exists, load


def load_annotations(ann_file: str, name: str = 'ann_file', backend_args: Optional[dict] = None) -> dict:
    """Load an annotation file in COCO format.

    Args:
        ann_file: Path or URL.
        name: Name of the argument, for the error.
        backend_args: As in MMEngine's ``load``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not JSON, or without a list of images, categories or annotations.
    """
    if not exists(ann_file, backend_args):
        raise FileNotFoundError(f'{name} must be an annotation file in COCO format, but there is no {ann_file}')
    try:
        content = load(ann_file, file_format='json', backend_args=backend_args)
    except ValueError as error:
        raise ValueError(f'{name} must be an annotation file in COCO format, but {ann_file} is not JSON: {error}'
                         ) from error
    for key in ('images', 'categories', 'annotations'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f'{name} must be an annotation file in COCO format, but {ann_file} has no list of {key}')
    return content


def images_by_category(content: dict) -> Dict[int, Set[int]]:
    """Return the ids of the images that train each category, by category id.

    An image counts if it has an annotation of the category that is no crowd and not to be ignored, as in training.
    """
    images: Dict[int, Set[int]] = defaultdict(set)
    for annotation in content['annotations']:
        if not annotation.get('iscrowd') and not annotation.get('ignore'):
            images[annotation['category_id']].add(annotation['image_id'])
    return {category['id']: images[category['id']] for category in content['categories']}


def image_counts(content: dict) -> Dict[str, int]:
    """Return the training images of each category by its name, in the order of the file."""
    images = images_by_category(content)
    return {category['name']: len(images[category['id']]) for category in content['categories']}


def check_category_order(names: Sequence[str], classes: Sequence[str], ann_file: str) -> None:
    """Raise ``ValueError`` unless the categories of a file are the classes of a dataset, among others, in their order.

    The hosts number the labels by the order of the file. Classes that it lacks or that are in another order would get
    other labels than they seem to have.
    """
    missing = [name for name in classes if name not in set(names)]
    if missing:
        raise ValueError(f'{ann_file} must have a category for each of the {len(classes)} classes of the dataset, but '
                         f'has none named {_listed(missing)}; it has {_listed(names)}')
    own = [name for name in names if name in set(classes)]
    if own != list(classes):
        raise ValueError('metainfo.classes must be in the order of the categories in the annotation files, which '
                         f'numbers the labels, but {ann_file} has the order {_listed(own)}, and the dataset '
                         f'{_listed(classes)}')


def _listed(names: Sequence[str]) -> str:
    shown: List[str] = [repr(name) for name in names[:20]]
    return ', '.join(shown) + (f' and {len(names) - 20} more' if len(names) > 20 else '')
