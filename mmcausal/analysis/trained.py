"""Trained models and their data, for analysis after training."""
import warnings
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import nn
from torch.utils.data import DataLoader, Subset

from mmcausal.analysis.feature_store import (
    FeatureStore,
    Identity,
    hash_config,
    hash_dataset,
    hash_file,
    image_keys,
    iterate_features,
)
from mmcausal.checkpoint_files import safe_checkpoints
from mmcausal.config_files import errors_naming, read_config
from mmcausal.datasets.given_counts import give_missing_counts, lacking_counts
from mmcausal.evaluation import ShotAccuracy
from mmcausal.models import TDELinear, enable_tde
from mmcausal.models.enable_tde import without_wrappers

MAX_SHARE_OF_COPIES = 0.01


class UsesTestImagesError(ValueError):
    """A choice that would be made on test images."""


def quiet_runner(config: str, checkpoint: str, options: Optional[dict] = None, name: str = 'analysis') -> Runner:
    """Build a quiet Runner that trains nothing, with its model in evaluation mode.

    The weights of ``checkpoint`` are not loaded yet, so that you can change the model first; then call
    :func:`load_weights`.

    Args:
        config: Config of the training.
        checkpoint: Checkpoint that :func:`load_weights` will load.
        options: Changes to the config, as ``--cfg-options``.
        name: Folder in ``work_dirs`` for logs.
    """
    cfg = read_config(config, options, needs=['model'])
    cfg.work_dir = str(Path('work_dirs') / name)  # the config in the training's own folder stays
    cfg.load_from = checkpoint
    cfg.launcher, cfg.resume = 'none', False  # a config dumped by a training has its own
    cfg.log_level = 'WARNING'
    # Only this hook acts at test time, on the last bits of the features; others expect a training.
    is_channels_last = any('ChannelsLastHook' in str(hook['type']) for hook in cfg.get('custom_hooks') or [])
    cfg.custom_hooks = [dict(type='mmcausal.CheckpointCheckHook')]
    if cfg.get('visualizer') is not None:
        cfg.visualizer.vis_backends = None  # no run in an online service
    with errors_naming(f'{config} must be a config that can be built'):
        runner = Runner.from_cfg(cfg)
    if is_channels_last:
        runner.model.to(memory_format=torch.channels_last)
    runner.model.eval()
    return runner


def load_weights(runner: Runner) -> None:
    """Load the checkpoint of a :func:`quiet_runner`.

    Raises:
        ValueError: A checkpoint of other classes.
    """
    with safe_checkpoints():
        runner.load_or_resume()
    runner.call_hook('check_weights')
    provide_class_counts(runner.model, runner.cfg)


def provide_class_counts(model: nn.Module, cfg: Config) -> None:
    """Give a model that needs class counts to infer, but has none, those that the test split's ``metainfo`` carries.

    A checkpoint of another classifier has none, and :class:`mmcausal.hooks.ClassPriorHook` acts in tests alone.

    Raises:
        ValueError: A test split without these counts.
    """
    if lacking_counts(model):
        give_missing_counts(model, build_split(cfg, 'test'))


def check_names(runner: Runner, dataset: BaseDataset) -> None:
    """Log class names of a dataset that are others in the checkpoint of a :func:`quiet_runner`.

    Raises:
        ValueError: Names with other labels.
    """
    runner.call_hook('check_names', dataset=dataset)


def load_classifier(runner: Runner, classifier: str = 'head.fc') -> TDELinear:
    """Make the layer named ``classifier`` infer by TDE with ``alpha = 0``, load the weights, and return the layer.

    A model in :class:`mmcausal.models.TDEClassifierTTA` is treated like the model itself.

    Raises:
        ValueError: No such layer, or a layer without TDE, see :func:`mmcausal.models.enable_tde`; a checkpoint of other
            classes.
    """
    layer = enable_tde(without_wrappers(runner.model), 0., classifier)
    load_weights(runner)
    return layer


def auto_alphas(layers: Sequence[TDELinear]) -> Dict[str, float]:
    """Return the alpha of each layer by the rule alpha * mean cosine = 1, by name; only for positive cosines."""
    names = ['auto'] if len(layers) == 1 else [f'auto of stage {stage}' for stage in range(len(layers))]
    return {name: 1 / float(layer.mean_cosine) for name, layer in zip(names, layers) if layer.mean_cosine > 0}


def build_split(cfg: Config, split: str) -> BaseDataset:
    """Build the dataset of the dataloader of a split.

    Raises:
        ValueError: The config has no such dataloader, or its dataset cannot be built.
    """
    dataloader = cfg.get(f'{split}_dataloader')
    if not dataloader:
        raise ValueError(f'{cfg.filename} must have a {split}_dataloader, but has {dataloader!r}')
    with errors_naming(f'the {split}_dataloader of {cfg.filename} must be one that can be built'):
        return DATASETS.build(dataloader.dataset)


def number_shared(dataset: BaseDataset, other: BaseDataset) -> int:
    """Return how many images of a dataset are in another one too."""
    keys = set(image_keys(other))
    return sum(key in keys for key in image_keys(dataset))


def build_split_without_test_images(cfg: Config, split: str) -> BaseDataset:
    """Build the dataset of a split by which something may be chosen.

    Raises:
        UsesTestImagesError: More than one percent of the images of the split are in the test split.

    Warns:
        UserWarning: A few are: public datasets have copies, such as 2 of the 2500 held-out images of CIFAR-100.
    """
    dataset = build_split(cfg, split)
    if split != 'test' and cfg.get('test_dataloader') is None:
        return dataset
    shared = number_shared(dataset, dataset if split == 'test' else build_split(cfg, 'test'))
    if shared > MAX_SHARE_OF_COPIES * len(dataset):
        raise UsesTestImagesError(f'the {split} split of {cfg.filename} holds test images, {shared} of {len(dataset)}, '
                                  'so a choice made on them is no longer a result on them')
    if shared:
        warnings.warn(f'{shared} of the {len(dataset)} images of the {split} split of {cfg.filename} are test images '
                      'too', stacklevel=2)
    return dataset


def check_held_out(cfg: Config, split: str, dataset: BaseDataset) -> None:
    """Refuse to choose something on images that the network is trained on.

    Training images that are not on this machine are not compared.

    Raises:
        ValueError: More than one percent of the images of the split are training images of the config.
    """
    if cfg.get('train_dataloader') is None:
        return
    try:
        train = build_split(cfg, 'train')
    except OSError:
        return
    shared = number_shared(dataset, train)
    if shared > MAX_SHARE_OF_COPIES * len(dataset):
        raise ValueError(f'the images of the {split} split of {cfg.filename} must be held out of the training, but '
                         f'{shared} of {len(dataset)} are training images, on which a choice means nothing; if the '
                         'checkpoint was trained on others, use the config that its training wrote to its work_dir')


def identity_of(cfg: Config, split: str, checkpoint: str, dataset: BaseDataset) -> Identity:
    """Return hashes of everything that features depend on; alpha is not part of it."""
    parts = dict(model=cfg.model, data_preprocessor=cfg.get('data_preprocessor'),
                 pipeline=pipelines_in(cfg[f'{split}_dataloader'].dataset))
    hashes = {name: hash_config(part, ignore=('alpha', 'exempt_background')) for name, part in parts.items()}
    weights = checkpoint if '://' in checkpoint else hash_file(checkpoint)
    return dict(hashes, dataset=hash_dataset(dataset), checkpoint=weights)


def pipelines_in(dataset: Union[dict, list]) -> Union[list, dict]:
    """Return the pipeline of a dataset's config, or the list of all pipelines of a wrapper and the datasets in it."""
    parts = [dataset]
    found = []
    for part in parts:  # grows
        if isinstance(part, dict):
            found += [part['pipeline']] if part.get('pipeline') is not None else []
            parts += [value for key, value in part.items() if key != 'pipeline']
        elif isinstance(part, (list, tuple)):
            parts += part
    return found[0] if len(found) == 1 else found


def features_folder(config: str, split: str, dtype: str, identity: Identity) -> Path:
    """Return the default folder for stored features: other features get another folder."""
    digest = hash_config(dict(identity, dtype=dtype))
    return Path('work_dirs') / 'features' / f'{Path(config).stem}_{split}_{digest[:12]}'


def remaining_batches(runner: Runner, split: str, dataset: BaseDataset, num_done: int, **changes: int) -> DataLoader:
    """Return a dataloader of the images after the first ``num_done``, in order.

    Args:
        runner: Runner with the config of the dataloader.
        split: ``'val'`` or ``'test'``.
        dataset: Dataset of the split, or a part of it.
        num_done: Number of images to skip.
        **changes: Changes to the dataloader, such as ``batch_size``.
    """
    loader = {key: value for key, value in runner.cfg[f'{split}_dataloader'].items()
              if key not in ('drop_last', 'num_batch_per_epoch')}  # all images count
    rest = Subset(dataset, range(num_done, len(dataset)))
    sampler = dict(type='DefaultSampler', shuffle=False)
    return runner.build_dataloader(dict(loader, dataset=rest, sampler=sampler, **changes))


def complete_features(store: FeatureStore, runner: Runner, layer: nn.Module, split: str, dataset: BaseDataset) -> None:
    """Compute the features that the store lacks, with a progress bar.

    Raises:
        ValueError: A dataloader that leaves images out.
    """
    if store.is_complete:
        return
    print(f'Features of {len(dataset) - store.num_done} images to {store.folder}', flush=True)
    batches = remaining_batches(runner, split, dataset, store.num_done)
    progress = ProgressBar(len(dataset) - store.num_done)
    for features, labels in iterate_features(runner.model, layer, batches):
        store.append(features, labels)
        progress.update(len(labels))
    print()
    if not store.is_complete:
        raise ValueError(f'the {split}_dataloader must yield all {len(dataset)} images, but stopped after '
                         f'{store.num_done}')


def shot_metric(runner: Runner, split: str, dataset: BaseDataset) -> ShotAccuracy:
    """Return the config's shot metric with the class counts of a dataset.

    Raises:
        ValueError: The evaluator has no ``ShotAccuracy``, or it cannot report on these images.
    """
    with errors_naming(f'the {split}_evaluator of {runner.cfg.filename} must be one that can be built'):
        evaluator = runner.build_evaluator(runner.cfg[f'{split}_evaluator'])
    metrics = [metric for metric in evaluator.metrics if isinstance(metric, ShotAccuracy)]
    if not metrics:
        raise ValueError(f'the {split} evaluator of {runner.cfg.filename} needs a mmcausal.ShotAccuracy, which has the '
                         'class counts and shot groups')
    metrics[0].dataset_meta = dataset.metainfo
    metrics[0].classwise = False
    reported_groups(metrics[0], dataset)
    return metrics[0]


def reported_groups(metric: ShotAccuracy, dataset: BaseDataset) -> List[str]:
    """Return the names that the metric reports on these images; their labels tell before the network runs."""
    labels = [int(dataset.get_data_info(index)['gt_label']) for index in range(len(dataset))]
    return list(metric.compute_metrics([(label, label) for label in labels]))
