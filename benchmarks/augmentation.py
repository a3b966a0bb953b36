"""Compare random crops and flips of CIFAR images by the host's pipeline with those of whole batches, alternating.

Both go from images (H, W, C) in memory to the input of a model: pipeline, collation and data preprocessor, in one
process. With a GPU, batches are cropped there.
"""
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from alternating import alternate, ratios
from measurement import measurement_arguments, measurement_parser, write_measurement
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmcausal.commands import integer_argument
from mmcausal.config_files import read_config
from mmcausal.registry import MODELS, TRANSFORMS

CONFIG = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt' / 'deconfound_r32_ir100.py'


def loading(images: np.ndarray, pipeline: list, preprocessor: dict) -> Callable[[], object]:
    """Return a function that turns images (N, H, W, C) into the input of a model in training."""
    transform = Compose([TRANSFORMS.build(dict(each)) for each in pipeline])
    prepare = MODELS.build(preprocessor)
    if torch.cuda.is_available():
        prepare.cuda()

    def load() -> object:
        samples = [transform(dict(img=image, gt_label=0)) for image in images]
        return prepare(pseudo_collate(samples), training=True)
    return load


def main() -> None:
    parser = measurement_parser(__doc__, rounds=30)
    parser.add_argument('--batch-size', type=integer_argument(1), default=256)
    args = measurement_arguments(parser)
    cfg = read_config(CONFIG)
    init_default_scope(cfg.default_scope)
    images = np.random.default_rng(0).integers(256, size=(args.batch_size, 32, 32, 3), dtype=np.uint8)
    host = dict(cfg.data_preprocessor, type='ClsDataPreprocessor')
    ours = dict(cfg.data_preprocessor, type='mmcausal.CropFlipDataPreprocessor')
    seconds = alternate(dict(pipeline=loading(images, cfg.train_dataloader.dataset.pipeline, host),
                             batches=loading(images, cfg.test_dataloader.dataset.pipeline, ours)), args.rounds)
    result = ratios(seconds, 'pipeline')
    rates = {name: round(1000 * args.batch_size / each['milliseconds']) for name, each in result.items()}
    for name, rate in rates.items():
        print(f'{name}: {rate} images/s, {result[name]["ratio"]:.3f} times the time of the pipeline')
    write_measurement(args, images_per_second=rates, batch=result, batch_size=args.batch_size)


if __name__ == '__main__':
    main()
