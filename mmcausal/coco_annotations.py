"""Annotation files in COCO format: their categories, and the training images of each."""
import random
from collections import defaultdict
from math import inf
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from mmengine.fileio import exists, load

from mmcausal.checks import is_number

FIELDS = dict(images=['id'], categories=['id', 'name'], annotations=['image_id', 'category_id'])


def load_annotations(ann_file: str, name: str = 'ann_file', backend_args: Optional[dict] = None) -> dict:
    """Load an annotation file in COCO format.

    Args:
        ann_file: Path or URL.
        name: Name of the argument, for the error.
        backend_args: As in MMEngine's ``load``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not JSON, or without a list of images, categories or annotations, or without one of their ids.
    """
    if not exists(ann_file, backend_args):
        raise FileNotFoundError(f'{name} must be an annotation file in COCO format, but there is no {ann_file}')
    try:
        content = load(ann_file, file_format='json', backend_args=backend_args)
    except ValueError as error:
        raise ValueError(f'{name} must be an annotation file in COCO format, but {ann_file} is not JSON: {error}'
                         ) from error
    check_entries(content, FIELDS, f'{name} must be an annotation file in COCO format, but {ann_file}')
    return content


def check_entries(content: Any, fields: Mapping[str, Sequence[str]], demand: str) -> None:
    """Check that annotations have lists of entries with certain fields.

    Args:
        content: Content of an annotation file.
        fields: Fields that each entry must have, by the name of its list.
        demand: Start of the error.

    Raises:
        ValueError: A list, or a field of an entry, is missing.
    """
    for key, names in fields.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f'{demand} has no list of {key}')
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict) or any(name not in entry for name in names):
                raise ValueError(f'{demand} has no {" and ".join(names)} in {key}[{index}], which is {entry!r:.100}')


def is_trained(annotation: dict, image: dict) -> bool:
    """Return whether an annotation of an image is one to train on, by the rules of MMDetection's ``CocoDataset``.

    It is not if it is a crowd or to be ignored, or if its box is smaller than a pixel or outside the image.

    Raises:
        ValueError: A box that is not four numbers.
    """
    area = annotation.get('area', 1)
    if annotation.get('iscrowd') or annotation.get('ignore') or (is_number(area) and area <= 0):
        return False
    box = annotation.get('bbox', (0, 0, 1, 1))
    if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(map(is_number, box)):
        raise ValueError(f'bbox must be [x, y, width, height], but got {box!r:.100}')
    x, y, width, height = box
    is_inside = (min(x + width, image.get('width') or inf) > max(x, 0)
                 and min(y + height, image.get('height') or inf) > max(y, 0))
    return bool(is_inside and width >= 1 and height >= 1)


def images_by_category(content: dict) -> Dict[int, Set[int]]:
    """Return the ids of the images that train each category, by category id.

    An image of the file counts if it has an annotation of the category that passes :func:`is_trained`.
    """
    images: Dict[int, Set[int]] = defaultdict(set)
    by_id = {image['id']: image for image in content['images']}
    for annotation in content['annotations']:
        image = by_id.get(annotation['image_id'])
        if image is not None and is_trained(annotation, image):
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
    known, wanted = set(names), set(classes)
    missing = [name for name in classes if name not in known]
    if missing:
        raise ValueError(f'{ann_file} must have a category for each of the {len(classes)} classes of the dataset, but '
                         f'has none named {_listed(missing)}; it has {_listed(names)}')
    own = [name for name in names if name in wanted]
    if own != list(classes):
        raise ValueError('metainfo.classes must be in the order of the categories in the annotation files, which '
                         f'numbers the labels, but {ann_file} has the order {_listed(own)}, and the dataset '
                         f'{_listed(classes)}')


def _listed(names: Sequence[str]) -> str:
    shown: List[str] = [repr(name) for name in names[:20]]
    return ', '.join(shown) + (f' and {len(names) - 20} more' if len(names) > 20 else '')


def hold_out_images(content: dict, wanted: Dict[int, int], seed: int = 0) -> Set[int]:
    """Choose training images to hold out, so that each category has the wanted number of them, or more.

    Rare categories choose first. Each takes images with few categories that have enough already, so that the held-out
    images are as balanced as images of several categories allow, and none with the last training image of a category.

    Args:
        content: Annotations in COCO format.
        wanted: Number of images to hold out, by category id. Categories that are not in it do not matter.
        seed: Seed of the choice.

    Returns:
        Ids of the images.

    Raises:
        ValueError: A category cannot spare so many images; it says how many the rarest can.
    """
    images = {category: images for category, images in images_by_category(content).items()
              if images and category in wanted}
    names = {category['id']: category['name'] for category in content['categories']}
    by_number = sorted(images, key=lambda category: (len(images[category]), category))
    for category in by_number:
        if wanted[category] >= len(images[category]):
            number = len(images[category])
            raise ValueError(f'the rarest category, {names[category]!r}, has {number} training images and can spare '
                             f'{number - 1}, but got {wanted[category]} to hold out')
    categories_of: Dict[int, List[int]] = defaultdict(list)
    for category in by_number:
        for image in sorted(images[category]):
            categories_of[image].append(category)
    order = sorted(categories_of)
    random.Random(seed).shuffle(order)
    chosen: Dict[int, Set[int]] = {category: set() for category in images}
    for category in by_number:
        candidates = [image for image in order if image in images[category] and image not in chosen[category]]
        _hold_out(category, candidates, images, categories_of, wanted, chosen)
        number = len(chosen[category])
        if number < wanted[category]:
            raise ValueError(f'{names[category]!r} can spare {number} images, because each of the others has the last '
                             f'training image of another category, but got {wanted[category]} to hold out')
    return set().union(*chosen.values())


def _hold_out(category: int, candidates: Sequence[int], images: Dict[int, Set[int]],
              categories_of: Dict[int, List[int]], wanted: Dict[int, int], chosen: Dict[int, Set[int]]) -> None:
    """Add images to ``chosen``, by category, until ``category`` has as many as wanted, or no more can be spared."""

    def number_of_full(image: int) -> int:
        return sum(len(chosen[other]) >= wanted[other] for other in categories_of[image])

    for image in sorted(candidates, key=number_of_full):
        if len(chosen[category]) >= wanted[category]:
            return
        if all(len(images[other]) - len(chosen[other]) > 1 for other in categories_of[image]):
            for other in categories_of[image]:
                chosen[other].add(image)


def split_annotations(content: dict, held_out: Set[int]) -> Tuple[dict, dict]:
    """Return the annotations of the other images and of those held out, in COCO format.

    If the categories have ``image_count``, as those of LVIS, both parts get the counts of the first, the training part.
    """
    parts = []
    for is_held_out in (False, True):
        images = [image for image in content['images'] if (image['id'] in held_out) == is_held_out]
        annotations = [annotation for annotation in content['annotations']
                       if (annotation['image_id'] in held_out) == is_held_out]
        parts.append(dict(content, images=images, annotations=annotations))
    counts = {category: len(images) for category, images in images_by_category(parts[0]).items()}
    for part in parts:
        part['categories'] = [dict(category, image_count=counts[category['id']]) if 'image_count' in category
                              else category for category in content['categories']]
    return parts[0], parts[1]
