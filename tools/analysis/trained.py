"""What the analysis tools share: a trained classifier, and the features of its images."""
import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import nn
from torch.utils.data import Subset

from mmcausal.evaluation import (
    FeatureStore,
    ShotAccuracy,
    hash_config,
    hash_dataset,
    hash_file,
    image_keys,
    iterate_features,
)
from mmcausal.hooks import ChannelsLastHook
from mmcausal.models import enable_tde
from mmcausal.models.deconfound_linear import DeconfoundLinear, check_alpha

GROUPS = ('many', 'medium', 'few', 'overall', 'prior')  # what ShotAccuracy reports


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What is wrong with the input ends the tool with a message alone."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        sys.exit(str(error))


def alpha_argument(text: str) -> float:
    """A value of alpha on the command line."""
    try:
        return float(check_alpha(float(text)))
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be a non-negative number, got {text}') from None


def file_argument(text: str) -> str:
    """A file on the command line, which is not looked for where it is somewhere else than in a folder."""
    if '://' not in text and '::' not in text and not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'no such file: {text}')
    return text


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', type=file_argument)
    parser.add_argument('checkpoint', type=file_argument)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config')


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer of a classifier')


def add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--split', choices=['val', 'test'], default='val', help='dataloader of the config; default val')
    parser.add_argument('--features', type=Path, help='folder of stored features; by default one in '
                        'work_dirs/features for each checkpoint, split, precision, ...')
    parser.add_argument('--dtype', choices=['float32', 'float16'], default='float32', help='of stored features')


def add_alphas_argument(parser: argparse.ArgumentParser, default: Sequence[float]) -> None:
    parser.add_argument('--alphas', type=alpha_argument, nargs='+', default=default,
                        help='values of alpha; default ' + ' '.join(f'{alpha:g}' for alpha in default))


def add_sweep_arguments(parser: argparse.ArgumentParser, figures: Sequence[str], default: str) -> None:
    parser.add_argument('--select', choices=figures, default=default, help='figure to choose a value by')
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
    # Nothing is trained, and some hooks want to be; this one acts at test time, on the last bits of the features.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if 'ChannelsLastHook' in str(hook['type'])]
    if 'visualizer' in cfg:
        cfg.visualizer.vis_backends = None  # no run in an online service
    runner = Runner.from_cfg(cfg)
    for hook in runner.hooks:
        if isinstance(hook, ChannelsLastHook):
            hook.before_run(runner)
    if not untouched:
        runner.load_or_resume()
    runner.model.eval()
    return runner


def load_classifier(args: argparse.Namespace, name: str) -> Tuple[Runner, DeconfoundLinear]:
    """As :func:`load_trained`, of a classifier, with its layer ``args.classifier`` made one that can infer by TDE."""
    runner = load_trained(args, name, untouched=True)
    with plain_errors():
        layer = enable_tde(runner.model, 0., args.classifier)
        runner.load_or_resume()
    return runner, layer


def auto_marks(layers: Sequence[DeconfoundLinear]) -> Dict[str, float]:
    """By name, the alpha of each layer by the rule alpha * mean cosine = 1; a cosine of 0 or less has none."""
    names = ['auto'] if len(layers) == 1 else [f'auto of stage {stage}' for stage in range(len(layers))]
    return {name: 1 / float(layer.mean_cosine) for name, layer in zip(names, layers) if layer.mean_cosine > 0}


def build_split(cfg: Config, split: str) -> Any:
    return DATASETS.build(cfg[f'{split}_dataloader'].dataset)


def stored_features(runner: Runner, layer: nn.Module, args: argparse.Namespace, dataset: Any) -> FeatureStore:
    """The features of a split, computed where they are not stored yet."""
    loader = runner.cfg[f'{args.split}_dataloader']
    identity = dict(identity_of(runner.cfg, args, dataset), classifier=args.classifier)
    with plain_errors():
        store = FeatureStore(features_folder(args, identity), identity, len(dataset), layer.in_features, args.dtype)
    if not store.is_complete:
        print(f'Features of {len(dataset) - store.num_done} images to {store.folder}', flush=True)
        dataloader = rest_of(runner, loader, dataset, store.num_done)
        progress = ProgressBar(len(dataset) - store.num_done)
        for features, labels in iterate_features(runner.model, layer, dataloader):
            store.append(features, labels)
            progress.update(len(labels))
        print()
    return store


def identity_of(cfg: Config, args: argparse.Namespace, dataset: Any) -> Dict[str, str]:
    """Hashes of what features depend on; alpha is not among it."""
    parts = dict(model=cfg.model, data_preprocessor=cfg.get('data_preprocessor'),
                 pipeline=cfg[f'{args.split}_dataloader'].dataset.get('pipeline'))
    hashes = {name: hash_config(part, ignore=('alpha', 'exempt_background')) for name, part in parts.items()}
    return dict(hashes, dataset=hash_dataset(dataset), checkpoint=hash_file(args.checkpoint))


def features_folder(args: argparse.Namespace, identity: Dict[str, str]) -> Path:
    """Where features are stored unless the user says so: other features get another folder."""
    digest = hash_config(dict(identity, dtype=args.dtype))
    return args.features or Path('work_dirs') / 'features' / f'{Path(args.config).stem}_{args.split}_{digest[:12]}'


def rest_of(runner: Runner, loader: dict, dataset: Any, num_done: int, **changes: Any) -> Any:
    """A dataloader of the images after the first ``num_done``, in order."""
    rest = Subset(dataset, range(num_done, len(dataset)))
    return runner.build_dataloader(
        dict(loader, dataset=rest, sampler=dict(type='DefaultSampler', shuffle=False), **changes))


def shot_metric(runner: Runner, args: argparse.Namespace, dataset: Any) -> ShotAccuracy:
    """The config's shot metric, told the class counts of a data set; exit where it cannot report on these images."""
    evaluator = runner.build_evaluator(runner.cfg[f'{args.split}_evaluator'])
    metrics = [metric for metric in evaluator.metrics if isinstance(metric, ShotAccuracy)]
    if not metrics:
        sys.exit(f'The {args.split} evaluator of {args.config} has no mmcausal.ShotAccuracy, which knows the class '
                 'counts and shot groups')
    metrics[0].dataset_meta = dataset.metainfo
    metrics[0].classwise = False
    reported_groups(metrics[0], dataset)
    return metrics[0]


def selecting_metric(runner: Runner, args: argparse.Namespace, dataset: Any) -> ShotAccuracy:
    """As :func:`shot_metric`; exit, too, where it does not report the figure ``args.select``."""
    metric = shot_metric(runner, args, dataset)
    groups = reported_groups(metric, dataset)
    if args.select not in groups:
        sys.exit(f'--select {args.select}: the shot metric reports {", ".join(groups)} on the {args.split} split of '
                 f'{args.config}. A shot group needs a tested class, and prior a class_prior')
    return metric


def print_points(points: Sequence[Dict[str, Any]], setting: str) -> None:
    """A table of the figures of a sweep, a line for each value of the setting."""
    figures = [figure for figure in (*GROUPS, 'entropy') if figure in points[0]]
    width = len(setting) + 2
    print(f'\n{setting:>{width}}' + ''.join(f'{figure:>10}' for figure in figures))
    for point in points:
        print(f'{point[setting]:>{width}.2f}' + ''.join(f'{point[figure]:>10.3f}' for figure in figures))


def reported_groups(metric: ShotAccuracy, dataset: Any) -> List[str]:
    """What the metric reports on these images: known from their labels, before the network runs."""
    labels = [int(dataset.get_data_info(index)['gt_label']) for index in range(len(dataset))]
    with plain_errors():
        return list(metric.compute_metrics([(label, label) for label in labels]))


def refuse_test_images(cfg: Config, args: argparse.Namespace) -> Any:
    """The data set of ``args.split``; without consent, exit where it has images of the test split."""
    dataset = build_split(cfg, args.split)
    if args.i_know_this_is_test:
        return dataset
    if args.split != 'test' and cfg.get('test_dataloader') is None:
        return dataset
    if args.split == 'test' or not set(image_keys(dataset)).isdisjoint(image_keys(build_split(cfg, 'test'))):
        sys.exit(f'The {args.split} split of {args.config} holds test images, and what is chosen on them is no '
                 'longer a result on them. Use a config with a validation split, as configs/cifar*_lt/*_holdout.py, or '
                 'say --i-know-this-is-test')
    return dataset


