"""Command-line arguments and output that the analysis tools share."""
import argparse
import contextlib
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from mmengine.config import DictAction
from mmengine.dataset import BaseDataset
from mmengine.runner import Runner

from mmcausal.analysis import (
    FeatureStore,
    build_split,
    build_split_without_test_images,
    check_names,
    complete_features,
    features_folder,
    identity_of,
    load_classifier,
    quiet_runner,
    reported_groups,
    shot_metric,
)
from mmcausal.checks import check_number
from mmcausal.evaluation import ShotAccuracy
from mmcausal.models.layers import TDELinear

GROUPS = ('many', 'medium', 'few', 'overall', 'prior')  # the names that ShotAccuracy reports


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """End the tool with the message alone if the input is wrong."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        sys.exit(str(error))


def number_argument(interval: str) -> Callable[[str], float]:
    """Return the parser of a number in ``interval``, see :func:`mmcausal.checks.check_number`."""

    def parse(text: str) -> float:
        try:
            return check_number('value', float(text), interval)
        except ValueError:
            raise argparse.ArgumentTypeError(f'must be a number in {interval}, but got {text}') from None

    return parse


alpha_argument = number_argument('[0, inf)')


def file_argument(text: str) -> str:
    """Check that a local file exists; URLs and ``mmdet::`` names are left to the host."""
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
    parser.add_argument('--dtype', choices=['float32', 'float16'], default='float32', help='type of stored features')


def add_alphas_argument(parser: argparse.ArgumentParser, default: Sequence[float]) -> None:
    parser.add_argument('--alphas', type=alpha_argument, nargs='+', default=default,
                        help='values of alpha; default ' + ' '.join(f'{alpha:g}' for alpha in default))


def add_sweep_arguments(parser: argparse.ArgumentParser, metrics: Optional[Sequence[str]], default: str) -> None:
    parser.add_argument('--select', choices=metrics, default=default, help='metric to choose a value by')
    parser.add_argument('--out', type=Path, help='JSON file for the results; plots are written beside it')
    parser.add_argument('--i-know-this-is-test', action='store_true', help='sweep, even over test images')


def classifier_from(args: argparse.Namespace, name: str) -> Tuple[Runner, TDELinear]:
    """Load the classifier of ``args``, with its layer ready for TDE."""
    with plain_errors():
        runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, name)
        return runner, load_classifier(runner, args.classifier)


def dataset_to_choose_by(runner: Runner, args: argparse.Namespace,
                         advice: str = 'Use a config with a validation split, such as configs/cifar*_lt/*_holdout.py'
                         ) -> BaseDataset:
    """Build the dataset of ``args.split``; without consent, exit with ``advice`` if it holds test images."""
    if args.i_know_this_is_test:
        return build_split(runner.cfg, args.split)
    try:
        return build_split_without_test_images(runner.cfg, args.split)
    except ValueError as error:
        sys.exit(f'{error}. {advice}, or add --i-know-this-is-test')


def stored_features(runner: Runner, layer: TDELinear, args: argparse.Namespace, dataset: BaseDataset) -> FeatureStore:
    """Return the features of a split; compute those that are not stored yet."""
    identity = dict(identity_of(runner.cfg, args.split, args.checkpoint, dataset), classifier=args.classifier)
    folder = args.features or features_folder(args.config, args.split, args.dtype, identity)
    with plain_errors():
        check_names(runner, dataset)
        store = FeatureStore(folder, identity, len(dataset), layer.in_features, args.dtype)
    complete_features(store, runner, layer, args.split, dataset)
    return store


def reporting_metric(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> ShotAccuracy:
    """Return the config's shot metric; exit if it cannot report on these images."""
    with plain_errors():
        return shot_metric(runner, args.split, dataset)


def selecting_metric(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> ShotAccuracy:
    """Return the config's shot metric; exit if it does not report ``args.select``."""
    metric = reporting_metric(runner, args, dataset)
    groups = reported_groups(metric, dataset)
    if args.select not in groups:
        sys.exit(f'--select {args.select}: the shot metric reports {", ".join(groups)} on the {args.split} split of '
                 f'{args.config}. A shot group needs a tested class, and prior a class_prior')
    return metric


def print_points(points: Sequence[Dict[str, float]], setting: str) -> None:
    """Print the results of a sweep, one line per value of the setting."""
    columns: List[str] = [name for name in (*GROUPS, 'entropy') if name in points[0]]
    width = len(setting) + 2
    print(f'\n{setting:>{width}}' + ''.join(f'{name:>10}' for name in columns))
    for point in points:
        print(f'{point[setting]:>{width}.2f}' + ''.join(f'{point[name]:>10.3f}' for name in columns))
