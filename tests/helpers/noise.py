"""Trainings of the de-confounded classifier on images of noise, with any class names."""
import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from helpers.commands import DIGITS, ROOT


@DATASETS.register_module(force=True)
class Noise(BaseDataset):
    """Four images of noise per class, like digits (8 x 8 pixels)."""

    def load_data_list(self):
        images = np.random.RandomState(0).randint(0, 256, (4 * len(self.CLASSES), 8, 8, 1), dtype=np.uint8)
        return [dict(img=image, gt_label=index // 4) for index, image in enumerate(images)]


def noise_cfg(work_dir, classes, config=DIGITS, **changes):
    """Return the config of one epoch on images of these classes, in batches of eight."""
    cfg = Config.fromfile(ROOT / config)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].batch_size = 8
        cfg[f'{split}_dataloader'].dataset = dict(
            type='Noise', ann_file='', pipeline=[dict(type='PackInputs')],
            metainfo=dict(classes=tuple(classes), class_counts=[4] * len(classes)))
    cfg.data_preprocessor.num_classes = cfg.model.head.num_classes = len(classes)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.merge_from_dict(dict({'randomness.seed': 0}, **changes))
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir)
    return cfg


def noise_runner(work_dir, classes, config=DIGITS, **changes):
    """Return the Runner of :func:`noise_cfg`."""
    return Runner.from_cfg(noise_cfg(work_dir, classes, config, **changes))
