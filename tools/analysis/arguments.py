"""Command-line arguments and output that the analysis tools share."""
import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Sequence, Tuple

from mmengine.dataset import BaseDataset
from mmengine.runner import Runner

from mmcausal.analysis import (
    Correction,
    FeatureStore,
    alphas_in,
    build_split,
    build_split_without_test_images,
    check_config_name,
    check_correction,
    check_names,
    complete_features,
    features_folder,
    identity_of,
    load_classifier,
    quiet_runner,
    reported_groups,
    shot_metric,
    write_alpha_config,
)
from mmcausal.analysis.sweeps import NO_ACCURACIES
from mmcausal.analysis.trained import UsesTestImagesError
from mmcausal.commands import (
    add_options_argument,
    add_overwrite_argument,
    alpha_argument,
    file_argument,
    total_effect_alone,
)
from mmcausal.evaluation import ShotAccuracy
from mmcausal.models.enable_tde import without_wrappers
from mmcausal.models.layers import Alpha, TDELinear
from mmcausal.models.tde_support import is_detector
from mmcausal.text import display_width, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUPS = ('many', 'medium', 'few', 'overall', 'prior')  # reported by ShotAccuracy, unless the groups have own names


def config_name_argument(text: str) -> Path:
    """Check that a config may have this name."""
    try:
        return check_config_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', type=file_argument)
    parser.add_argument('checkpoint', type=file_argument)
    add_options_argument(parser)


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
                        help="values of alpha, or auto for alpha * mean cosine = 1; default "
                        + ' '.join(f'{alpha:g}' for alpha in default))


def add_alpha_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--alpha', type=alpha_argument, help="alpha of TDE, or auto; default: the config's")


def add_sweep_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument('--select', default=default, metavar='METRIC',
                        help=f'metric to choose a value by, such as that of a group of classes; default {default}')
    parser.add_argument('--out', type=Path, help='JSON file for the results; plots are written beside it')
    parser.add_argument('--write-config', type=config_name_argument, metavar='OUT.py', help='new config that inherits '
                        'from CONFIG, with the chosen alpha; tests, tools and inferencers take it from there')
    add_overwrite_argument(parser)
    parser.add_argument('--i-know-this-is-test', action='store_true', help='sweep, even over test images')


def check_choice_of_alpha(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse to write an alpha that was chosen on test images, or for another model than that of the config."""
    if args.write_config and args.i_know_this_is_test:
        parser.error('--write-config needs images that are not tested on: leave out --i-know-this-is-test')
    if args.write_config and any(key.split('.')[0] == 'model' for key in args.cfg_options or {}):
        parser.error('--write-config inherits from the config as it is: put the changes of its model into a config')


def write_chosen(args: argparse.Namespace, alpha: Alpha, num_images: int, classifier: str = 'head.fc') -> None:
    """Write the config of ``--write-config``, and print how to test with it."""
    reason = (f'alpha with the best {args.select} on {num_images} images of the {args.split} split, '
              f'{Path(args.checkpoint).name}')
    write_alpha_config(args.config, alpha, args.write_config, classifier, reason, args.overwrite)
    print(f'Config with alpha {alpha}: {args.write_config}\n'
          f'python tools/test.py {shlex.quote(str(args.write_config))} {shlex.quote(args.checkpoint)}')


def classifier_from(args: argparse.Namespace, name: str) -> Tuple[Runner, TDELinear]:
    """Load the classifier of ``args``, its layer ready for TDE; set ``args.config_alpha`` to the config's alpha."""
    runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, name)
    model = without_wrappers(runner.model)
    if is_detector(model):
        raise ValueError(f'{args.config} must be the config of a classifier, but has a '
                         f'{type(model).__name__}; for detectors, there is sweep_detector_alpha.py')
    args.config_alpha, = alphas_in(runner.model, args.classifier)
    return runner, load_classifier(runner, args.classifier)


def alpha_to_show(args: argparse.Namespace, layer: TDELinear) -> float:
    """Return the alpha of ``--alpha`` or else of the config, as a number; if it is 0, print how to choose one."""
    alpha = args.config_alpha if args.alpha is None else args.alpha
    if not layer.mean_feature.any():
        print('The checkpoint has no head direction, so there is no TDE to show; estimate_direction.py adds one')
        return 0.
    if alpha == 0:
        print(total_effect_alone(args.config, args.checkpoint, args.classifier))
    return check_correction(layer, Correction(alpha)).alpha


def dataset_to_choose_by(runner: Runner, args: argparse.Namespace,
                         advice: str = 'Train with a config that holds out a validation split, such as '
                         'configs/cifar*_lt/*_holdout.py, and choose with it and its checkpoint') -> BaseDataset:
    """Build the dataset of ``args.split``; without consent, exit with ``advice`` if it holds test images."""
    if args.i_know_this_is_test:
        return build_split(runner.cfg, args.split)
    try:
        return build_split_without_test_images(runner.cfg, args.split)
    except UsesTestImagesError as error:
        sys.exit(f'{error}. {advice}, or add --i-know-this-is-test')


def stored_features(runner: Runner, layer: TDELinear, args: argparse.Namespace, dataset: BaseDataset) -> FeatureStore:
    """Return the features of a split; compute those that are not stored yet."""
    identity = dict(identity_of(runner.cfg, args.split, args.checkpoint, dataset), classifier=args.classifier)
    folder = args.features or features_folder(args.config, args.split, args.dtype, identity)
    check_names(runner, dataset)
    store = FeatureStore(folder, identity, len(dataset), layer.in_features, args.dtype)
    complete_features(store, runner, layer, args.split, dataset)
    return store


def draw_pictures(runner: Runner, layer: TDELinear, store: FeatureStore, metric: ShotAccuracy, dataset: BaseDataset,
                  alpha: float) -> Dict[str, 'Figure']:
    """Return all plots that follow from stored features and, for Grad-CAM, from a few images."""
    from mmcausal.visualization import classifier_pictures, grad_cam_pictures  # not needed by the sweeps
    figures = classifier_pictures(layer, store.features, store.labels, metric.counts(), metric.groups(), alpha,
                                  dataset.metainfo.get('classes'))
    classifier = without_wrappers(runner.model)
    figures.update(grad_cam_pictures(classifier, layer, dataset, store.labels, metric.counts(), alpha))
    return figures


def selecting_metric(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> ShotAccuracy:
    """Return the config's shot metric; exit if it does not report ``args.select``."""
    metric = shot_metric(runner, args.split, dataset)
    groups = [name for name in reported_groups(metric, dataset) if name not in NO_ACCURACIES]
    if args.select not in groups:
        sys.exit(f'--select {args.select}: the shot metric reports {", ".join(groups)} on the {args.split} split of '
                 f'{args.config}. A shot group needs a tested class, and prior a class_prior')
    return metric


def print_points(points: Sequence[Dict[str, float]], setting: str) -> None:
    """Print the results of a sweep, one line per value of the setting."""
    own = [name for name in points[0] if name not in (*GROUPS, *NO_ACCURACIES)]  # groups with names of the user
    columns = [name for name in (*own, *GROUPS, 'entropy') if name in points[0]]
    titles = [shorten(name) for name in columns]
    widths = [max(10, display_width(title) + 2) for title in titles]
    first = len(setting) + 2
    print(f'\n{setting:>{first}}' + ''.join(' ' * (width - display_width(title)) + title
                                            for title, width in zip(titles, widths)))
    for point in points:
        print(f'{point[setting]:>{first}.2f}' + ''.join(f'{point[name]:>{width}.3f}'
                                                        for name, width in zip(columns, widths)))
