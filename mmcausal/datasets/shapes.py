"""Long-tailed shapes: a generated instance segmentation dataset in LVIS v1 format, small enough to train on a CPU.

A class is a pair of texture and shape, such as ``striped_star``; colour, size, rotation and background are random. A
rare class shares its shape with some frequent classes and its texture with others, so that a detector can confuse it
with them, as in real long-tailed data.
"""
import contextlib
import json
import math
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple, Union

import cv2
import numpy as np

from mmcausal.checks import check_integer, check_number, check_seed, is_integer
from mmcausal.datasets.long_tail import long_tailed_counts
from mmcausal.files import replacing, write_bytes, write_text

Record = Dict[str, Union[int, str, list]]  # of an LVIS file
Region = Callable[[np.ndarray, np.ndarray], np.ndarray]

SIDES = (28, 110)  # of an object, in pixels
OBJECTS_PER_IMAGE = (3, 8)
MIN_IMAGE_SIZE = 160  # fits the most objects, each at least half visible
MIN_COLOUR_DISTANCE = 110
MAX_TRIES = 200
URL_PREFIX = 'http://images.cocodataset.org/'  # MMDetection derives the path of an LVIS image from its URL


def _star(points: int, inner: float) -> Region:
    """Return a star in the unit circle with dents ``inner`` from the centre; cos(pi / points) makes it a polygon."""
    half_angle = math.pi / points
    dent_u, dent_v = inner * math.cos(half_angle), inner * math.sin(half_angle)

    def inside(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        angle = np.abs((np.arctan2(v, u) + half_angle) % (2 * half_angle) - half_angle)
        radius = np.hypot(u, v)
        return (dent_u - 1) * radius * np.sin(angle) > dent_v * (radius * np.cos(angle) - 1)

    return inside


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.maximum(abs(u), abs(v)) < 0.95) & (np.minimum(abs(u), abs(v)) < 0.3)


def _arrow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return ((abs(v) < 0.3) & (abs(u) < 0.9)) | ((u > 0) & (abs(v) < 0.95 - u))


# Points of the unit circle that a shape covers
SHAPES: Dict[str, Region] = dict(
    disc=lambda u, v: np.hypot(u, v) < 0.9,
    square=_star(4, math.cos(math.pi / 4)),
    triangle=_star(3, math.cos(math.pi / 3)),
    star=_star(5, 0.45),
    cross=_cross,
    ring=lambda u, v: abs(np.hypot(u, v) - 0.7) < 0.25,
    half_disc=lambda u, v: (np.hypot(u, v + 0.3) < 0.95) & (v > -0.3),
    arrow=_arrow,
    crescent=lambda u, v: (np.hypot(u, v) < 0.95) & (np.hypot(u - 0.5, v) > 0.75),
    hexagon=_star(6, math.cos(math.pi / 6)))

# Points that have the second colour
TEXTURES: Dict[str, Region] = dict(
    plain=lambda u, v: np.zeros(u.shape, bool),
    striped=lambda u, v: 2.5 * u % 1 < 0.5,
    dotted=lambda u, v: np.hypot(2.5 * u % 1 - 0.5, 2.5 * v % 1 - 0.5) < 0.33,
    checkered=lambda u, v: (2.5 * u % 2 < 1) != (2.5 * v % 2 < 1),
    concentric=lambda u, v: 2.5 * np.hypot(u, v) % 1 < 0.5,
    gridded=lambda u, v: np.minimum(2.5 * u % 1, 2.5 * v % 1) < 0.25)


class Pose(NamedTuple):
    """Centre and side of an object in pixels, and its rotation in radians."""
    x: float
    y: float
    side: float
    rotation: float

    @property
    def window(self) -> Tuple[slice, slice]:
        """Rows and columns of the image that contain the object."""
        y, x = (slice(int(centre - self.side / 2), int(centre + self.side / 2) + 1) for centre in (self.y, self.x))
        return y, x

    def coordinates(self) -> Tuple[np.ndarray, np.ndarray]:
        """Return the coordinates of the window's pixels relative to the object, which fills the unit circle."""
        rows, columns = np.ogrid[self.window]
        x, y = (columns - self.x) * (2 / self.side), (rows - self.y) * (2 / self.side)
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        return cos * x + sin * y, cos * y - sin * x


def shape_classes(num_classes: int) -> List[Tuple[str, str]]:
    """Return texture and shape of each class, in the order of the category ids.

    The pairs use as few textures and shapes as possible: 24 classes are 4 textures of 6 shapes.

    Raises:
        ValueError: Fewer than 2 classes, or more than 60, the number of pairs.
    """
    if not is_integer(num_classes) or not 2 <= num_classes <= len(TEXTURES) * len(SHAPES):
        raise ValueError(f'num_classes must be in [2, {len(TEXTURES) * len(SHAPES)}], but got {num_classes!r}')
    pairs = [(max(row / len(TEXTURES), column / len(SHAPES)), texture, shape)
             for row, texture in enumerate(TEXTURES) for column, shape in enumerate(SHAPES)]
    return [pair[1:] for pair in sorted(pairs, key=lambda pair: pair[0])[:num_classes]]


def object_counts(num_images: int, num_classes: int, imbalance_ratio: float) -> List[int]:
    """Return the number of objects per class, largest first, for about 5.5 objects per image or slightly fewer.

    Raises:
        ValueError: Fewer images than classes, or an imbalance ratio below 1 or that leaves a class without an object.
    """
    if check_integer('num_images', num_images, 1) < check_integer('num_classes', num_classes, 2):
        raise ValueError(f'{num_classes} classes need at least as many images in each split, but got {num_images!r}')
    check_number('imbalance_ratio', imbalance_ratio, '[1, inf)')
    shares = [imbalance_ratio**(-label / (num_classes - 1)) for label in range(num_classes)]
    largest = int(num_images * np.mean(OBJECTS_PER_IMAGE) / sum(shares))
    return long_tailed_counts(largest, num_classes, imbalance_ratio)


def plan_images(counts: Sequence[int], num_images: int, rng: np.random.RandomState) -> List[List[int]]:
    """Return the labels of the objects in each image: 3 to 8 per image, and ``counts[c]`` of class c in total."""
    fewest, most = OBJECTS_PER_IMAGE
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    places = rng.permutation(np.repeat(np.arange(num_images), most - fewest))[:len(labels) - fewest * num_images]
    sizes = fewest + np.bincount(places, minlength=num_images)
    return [part.tolist() for part in np.split(labels, np.cumsum(sizes)[:-1])]


def lvis_categories(classes: Sequence[Tuple[str, str]], images: Sequence[Sequence[int]],
                    frequency_bounds: Tuple[int, int]) -> List[Record]:
    """Return LVIS categories, with the counts and frequency groups of the training images.

    Args:
        classes: Texture and shape of each class.
        images: Labels of the objects in each training image.
        frequency_bounds: Most images of a rare (r) and of a common (c) class; classes with more are frequent (f).

    Raises:
        ValueError: Bounds that do not ascend.
    """
    is_pair = isinstance(frequency_bounds, (list, tuple)) and len(frequency_bounds) == 2
    rare, common = frequency_bounds if is_pair and all(map(is_integer, frequency_bounds)) else (-1, -1)
    if not 0 <= rare <= common:
        raise ValueError(f'frequency_bounds must be two ascending numbers of images, but got {frequency_bounds!r}')
    categories: List[Record] = []
    for label, pair in enumerate(classes):
        image_count = sum(label in labels for labels in images)
        categories.append(dict(id=label + 1, name='_'.join(pair), synset='_'.join(pair) + '.n.01',
                               frequency='r' if image_count <= rare else 'c' if image_count <= common else 'f',
                               image_count=image_count, instance_count=sum(labels.count(label) for labels in images)))
    return categories


def place_objects(shapes: Sequence[str], image_size: int,
                  rng: np.random.RandomState) -> Tuple[List[Pose], np.ndarray]:
    """Place objects at random, later ones on top, with at least half of each object visible.

    Returns:
        The poses of the objects, and the owner of each pixel (H, W): 0 for the background, k for the k-th object.

    Raises:
        ValueError: No room found for an object.
    """
    poses: List[Pose] = []
    areas: List[int] = []
    owner = np.zeros((image_size, image_size), np.uint8)
    for number, shape in enumerate(shapes, 1):
        for attempt in range(MAX_TRIES):
            side = SIDES[0] * (SIDES[1] / SIDES[0])**rng.uniform(0, 1 - attempt / MAX_TRIES)  # ever smaller
            x, y = rng.uniform(side / 2, image_size - 1 - side / 2, 2)
            pose = Pose(x, y, side, rng.uniform(0, 2 * math.pi))
            mask = SHAPES[shape](*pose.coordinates())
            covered = owner.copy()
            covered[pose.window][mask] = number
            visible = np.bincount(covered.ravel(), minlength=number + 1)[1:]
            if np.all(2 * visible >= areas + [mask.sum()]):
                break
        else:
            raise ValueError(f'image_size {image_size} leaves no room for {len(shapes)} half visible objects')
        poses, areas, owner = poses + [pose], areas + [int(mask.sum())], covered
    return poses, owner


def _smooth_noise(image_size: int, cells: int, channels: int, rng: np.random.RandomState) -> np.ndarray:
    noise: np.ndarray = rng.randn(cells, cells, channels).astype(np.float32)
    noise = cv2.resize(noise, (image_size, image_size), interpolation=cv2.INTER_CUBIC)
    return noise.reshape(image_size, image_size, channels)  # cv2 drops a single channel


def _draw_background(image_size: int, colour: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Draw gradients, blobs and lines, which belong to no class, around one colour."""
    image = colour.astype(np.float32) + 25 * _smooth_noise(image_size, 2, 1, rng)
    for cells in (5, image_size // 6):
        image += 10 * _smooth_noise(image_size, cells, 3, rng)
    blobs = _smooth_noise(image_size, 9, 1, rng) > 1.1
    image = np.where(blobs, (image + rng.uniform(0, 255, 3)) / 2, image).astype(np.float32)
    for _ in range(rng.randint(3, 10)):
        ends = rng.randint(0, image_size, 4).tolist()
        cv2.line(image, ends[:2], ends[2:], rng.uniform(0, 255, 3).tolist(), thickness=int(rng.randint(1, 4)))
    return image


def _other_colour(colours: Sequence[np.ndarray], rng: np.random.RandomState) -> np.ndarray:
    while True:
        colour = rng.uniform(0, 255, 3)
        if all(np.linalg.norm(colour - other) > MIN_COLOUR_DISTANCE for other in colours):
            return colour


def draw_image(classes: Sequence[Tuple[str, str]], poses: Sequence[Pose], image_size: int,
               rng: np.random.RandomState) -> np.ndarray:
    """Draw an image (H, W, 3) of objects with these textures and shapes over a cluttered background."""
    background = rng.uniform(50, 205, 3)
    image = _draw_background(image_size, background, rng)
    for (texture, shape), pose in zip(classes, poses):
        u, v = pose.coordinates()
        first = _other_colour([background], rng)
        second = _other_colour([background, first], rng)
        mask = SHAPES[shape](u, v)
        image[pose.window][mask] = np.where(TEXTURES[texture](u[mask], v[mask])[:, None], second, first)
    image = cv2.GaussianBlur(image, (3, 3), 0) + 6 * rng.randn(*image.shape)
    return image.clip(0, 255).astype(np.uint8)


def mask_polygons(mask: np.ndarray) -> List[List[float]]:
    """Return polygons [x, y, x, y, ...] that cover the pixels of a mask (H, W); masks with holes are cut apart."""
    # At twice the size, polygons pass between a pixel's edge and its centre, and the thinnest line has an area
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    holes = [contour for contour, (*_, parent) in zip(contours, [] if hierarchy is None else hierarchy[0])
             if parent >= 0]
    if not holes:
        return [((contour + 0.5) / 2).ravel().tolist() for contour in contours]
    left, _, width, _ = cv2.boundingRect(holes[0])
    cut = (left + width // 2) // 2
    is_left = np.arange(mask.shape[1]) < cut
    return mask_polygons(mask & is_left) + mask_polygons(mask & ~is_left)


def lvis_annotation(mask: np.ndarray, label: int, image_id: int, annotation_id: int) -> Record:
    """Return the LVIS annotation of the visible pixels (H, W) of an object."""
    return dict(id=annotation_id, image_id=image_id, category_id=label + 1, area=int(mask.sum()),
                bbox=list(cv2.boundingRect(mask.astype(np.uint8))), segmentation=mask_polygons(mask))


def lvis_image(split: str, image_id: int, labels: Sequence[int], num_classes: int, image_size: int) -> Record:
    """Return the LVIS record of an image with all objects annotated."""
    file_name = f'{image_id:06d}.jpg'
    absent = [label + 1 for label in range(num_classes) if label not in labels]
    return dict(id=image_id, file_name=file_name, coco_url=f'{URL_PREFIX}{split}/{file_name}', width=image_size,
                height=image_size, neg_category_ids=absent, not_exhaustive_category_ids=[])


def write_images(split: str, folder: Path, plan: Sequence[Sequence[int]], classes: Sequence[Tuple[str, str]],
                 image_size: int, rng: np.random.RandomState,
                 report: Callable[[str], None]) -> Dict[str, List[Record]]:
    """Draw the planned images of a split into a folder; return their LVIS images and annotations."""
    images: List[Record] = []
    annotations: List[Record] = []
    for image_id, labels in enumerate(plan, 1):
        pairs = [classes[label] for label in labels]
        poses, owner = place_objects([shape for _, shape in pairs], image_size, rng)
        images.append(lvis_image(split, image_id, labels, len(classes), image_size))
        for number, label in enumerate(labels, 1):
            annotations.append(lvis_annotation(owner == number, label, image_id, len(annotations) + 1))
        image = draw_image(pairs, poses, image_size, rng)
        encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        write_bytes(folder / str(images[-1]['file_name']), encoded.tobytes())
        if image_id % 50 == 0 or image_id == len(plan):
            report(f'{split}: {image_id} of {len(plan)} images')
    return dict(images=images, annotations=annotations)


def make_shapes_dataset(out_dir: Union[str, Path],
                        num_train: int = 300,
                        num_val: int = 100,
                        num_classes: int = 24,
                        imbalance_ratio: float = 100,
                        image_size: int = 320,
                        seed: int = 0,
                        frequency_bounds: Tuple[int, int] = (10, 50),
                        report: Callable[[str], None] = lambda line: None) -> Tuple[Path, Path]:
    """Generate long-tailed training images and balanced validation images; the same seed gives the same files.

    The files are ``annotations/shapes_{train,val}.json``, ``train/*.jpg`` and ``val/*.jpg``. The seed also selects the
    frequent classes; names and ids of the categories depend only on ``num_classes``.

    Args:
        out_dir: Folder to write into.
        num_train, num_val: Images in each split, with 3 to 8 objects each.
        num_classes: At most 60, see :func:`shape_classes`.
        imbalance_ratio: Training objects of the most frequent class over training objects of the rarest.
        image_size: Width and height in pixels. Objects measure 28 to 110 pixels at any image size.
        seed: Seed of all random choices.
        frequency_bounds: Most training images of a rare and of a common class. LVIS uses 10 and 100; with 50, each
            group gets a third of the 24 classes.
        report: Called with a line of progress every 50 images.

    Returns:
        The annotation files of the training and validation images.

    Raises:
        FileExistsError: An annotation file or a folder of images exists already.
        OSError: A file cannot be written; then none is left.
        ValueError: Arguments out of range.
    """
    files = [Path(out_dir) / 'annotations' / f'shapes_{split}.json' for split in ('train', 'val')]
    folders = [Path(out_dir) / split for split in ('train', 'val')]
    for path in filter(Path.exists, [*files, *folders]):
        raise FileExistsError(f'{path} exists and is not overwritten')
    check_integer('image_size', image_size, MIN_IMAGE_SIZE)
    check_seed(seed)
    classes = shape_classes(num_classes)
    train_rng, val_rng = (np.random.RandomState([seed, split]) for split in range(2))
    train_counts = train_rng.permutation(object_counts(num_train, num_classes, imbalance_ratio)).tolist()
    plans = [plan_images(train_counts, num_train, train_rng),
             plan_images(object_counts(num_val, num_classes, imbalance_ratio=1), num_val, val_rng)]
    categories = lvis_categories(classes, plans[0], frequency_bounds)
    with contextlib.ExitStack() as stack:  # all or nothing
        for file, folder, plan, rng in zip(files, folders, plans, (train_rng, val_rng)):
            new_folder, new_file = (stack.enter_context(replacing(path)) for path in (folder, file))
            records = write_images(folder.name, new_folder, plan, classes, image_size, rng, report)
            write_text(new_file, json.dumps(dict(categories=categories, **records)))
    return files[0], files[1]
