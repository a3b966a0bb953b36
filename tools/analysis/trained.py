"""What the analysis tools share: a trained classifier, and the features of its images."""
import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from mmengine.config import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import nn
from torch.utils.data import Subset

from mmcausal.evaluation import FeatureStore, ShotAccuracy, hash_dataset, hash_file, image_keys, iterate_features
from mmcausal.models.deconfound_linear import check_alpha


def alpha_argument(text: str) -> float:
    """A value of alpha on the command line."""
    try:
        return float(check_alpha(float(text)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer of a classifier')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config')


def add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--split', choices=['val', 'test'], default='val', help='dataloader of the config; default val')
    parser.add_argument('--features', type=Path, help='folder of stored features; default: one for each checkpoint')
    parser.add_argument('--dtype', choices=['float32', 'float16'], default='float32', help='of stored features')


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--alphas', type=alpha_argument, nargs='+', help='values of alpha')
    parser.add_argument('--out', type=Path, help='JSON file for the results; pictures go beside it')
    parser.add_argument('--i-know-this-is-test', action='store_true', help='sweep, even over test images')


def load_trained(args: argparse.Namespace, name: str, untouched: bool = False) -> Runner:
    """A quiet Runner with the model of ``args.config``, in evaluation mode, with the weights of ``args.checkpoint``.

    With ``untouched``, the weights are left for the caller to load, after changes to the model.
    """
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = str(Path('work_dirs') / name)  # the training's own config stays
    cfg.load_from = args.checkpoint
    cfg.launcher, cfg.resume = 'none', False  # a config that a training dumped has its own
    cfg.log_level = 'WARNING'
    cfg.custom_hooks = []  # nothing is trained; some hooks want to be
    if 'visualizer' in cfg:
        cfg.visualizer.vis_backends = None  # no run in an online service
    runner = Runner.from_cfg(cfg)
    if not untouched:
        runner.load_or_resume()
    runner.model.eval()
    return runner


def build_split(cfg: Config, split: str) -> Any:
    return DATASETS.build(cfg[f'{split}_dataloader'].dataset)


def stored_features(runner: Runner, layer: nn.Module, args: argparse.Namespace,
                    dataset: Optional[Any] = None) -> Tuple[FeatureStore, Any]:
    """The features of a split, computed where they are not stored yet, and the split's data set."""
    loader = runner.cfg[f'{args.split}_dataloader']
    dataset = build_split(runner.cfg, args.split) if dataset is None else dataset
    checkpoint = hash_file(args.checkpoint)
    identity = dict(identity_of(runner.cfg, args.split, dataset), checkpoint=checkpoint, classifier=args.classifier)
    folder = features_folder(args, checkpoint)
    store = FeatureStore(folder, identity, len(dataset), layer.in_features, args.dtype)
    if not store.is_complete:
        print(f'Features of {len(dataset) - store.num_done} images to {folder}', flush=True)
        dataloader = rest_of(runner, loader, dataset, store.num_done)
        progress = ProgressBar(len(dataset) - store.num_done)
        for features, labels in iterate_features(runner.model, layer, dataloader):
            store.append(features, labels)
            progress.update(len(labels))
        print()
    return store, dataset


def identity_of(cfg: Config, split: str, dataset: Any) -> Dict[str, str]:
    """Hashes of what features depend on, beside the checkpoint; alpha is not among it."""
    parts = dict(model=_without_alpha(cfg.model.to_dict()), data_preprocessor=cfg.get('data_preprocessor'),
                 pipeline=cfg[f'{split}_dataloader'].dataset.get('pipeline'))
    hashes = {name: hashlib.sha256(repr(part).encode()).hexdigest() for name, part in parts.items()}
    return dict(hashes, dataset=hash_dataset(dataset))


def _without_alpha(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_alpha(item) for key, item in value.items() if key not in ('alpha', 'exempt_background')}
    return [_without_alpha(item) for item in value] if isinstance(value, (list, tuple)) else value


def features_folder(args: argparse.Namespace, checkpoint_hash: str) -> Path:
    """Where features are stored unless the user says so."""
    name = f'{Path(args.config).stem}_{args.split}_{checkpoint_hash[:12]}'
    return args.features or Path('work_dirs') / 'features' / name


def rest_of(runner: Runner, loader: dict, dataset: Any, num_done: int, **changes: Any) -> Any:
    """A dataloader of the images after the first ``num_done``, in order."""
    rest = Subset(dataset, range(num_done, len(dataset)))
    return runner.build_dataloader(
        dict(loader, dataset=rest, sampler=dict(type='DefaultSampler', shuffle=False), **changes))


def shot_metric(evaluator: Evaluator, dataset: Any) -> ShotAccuracy:
    """The config's shot metric, told the class counts of a data set."""
    metrics = [metric for metric in evaluator.metrics if isinstance(metric, ShotAccuracy)]
    if not metrics:
        sys.exit("The config's evaluator has no mmcausal.ShotAccuracy, which knows the class counts and shot groups")
    metrics[0].dataset_meta = dataset.metainfo
    metrics[0].classwise = False
    return metrics[0]


def refuse_test_images(cfg: Config, args: argparse.Namespace) -> Any:
    """The data set of ``args.split``; without consent, exit where it has images of the test split."""
    dataset = build_split(cfg, args.split)
    if args.i_know_this_is_test:
        return dataset
    if args.split == 'test' or not set(image_keys(dataset)).isdisjoint(image_keys(build_split(cfg, 'test'))):
        sys.exit(f'The {args.split} split of {args.config} holds test images, and what is chosen on them is no '
                 'longer a result on them. Use a config with a validation split, as configs/cifar*_lt/*_holdout.py, or '
                 'say --i-know-this-is-test')
    return dataset


