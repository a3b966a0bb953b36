"""Sweep alpha of a trained detector by box AP, and choose one on validation images, never on test images.

The network runs once over the split and the inputs of its box heads are stored (some megabytes per image; choose fewer
images with --num-images). Every alpha after that costs classifier, NMS and evaluation alone. Masks would need the
network again, so the metric is box AP. A cascade needs class-agnostic boxes, as in the configs for LVIS. With
--write-config OUT.py, the chosen alpha goes into a new config, for tests and inferencers alike.
"""
import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Dict, List, Union

from arguments import (
    add_alphas_argument,
    add_config_arguments,
    add_feature_arguments,
    add_sweep_arguments,
    check_choice_of_alpha,
    dataset_to_choose_by,
    plain_errors,
    write_chosen,
)
from mmengine.dataset import BaseDataset
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import nn

from mmcausal.analysis import (
    ProposalStore,
    alphas_in,
    auto_alphas,
    detect_again,
    features_folder,
    identity_of,
    iterate_proposals,
    quiet_runner,
    remaining_batches,
)
from mmcausal.analysis.proposal_store import check_alpha_free_boxes
from mmcausal.evaluation import LVISMetric
from mmcausal.models import enable_detector_tde
from mmcausal.models.enable_tde import without_wrappers
from mmcausal.models.layers import Alpha
from mmcausal.registry import METRICS

Point = Dict[str, Union[float, str]]
# Box AP metrics, and the shot group with the same colour
METRIC_GROUPS = dict(AP='overall', APr='few', APc='medium', APf='many')


def positive(text: str) -> int:
    """Parse an integer above 0."""
    if not int(text) > 0:
        raise argparse.ArgumentTypeError(f'must be above 0, but got {text}')
    return int(text)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add_feature_arguments(parser)
    add_alphas_argument(parser, [0, 0.5, 1, 1.5, 2, 2.5])
    add_sweep_arguments(parser, list(METRIC_GROUPS), 'AP')
    parser.set_defaults(dtype='float16')
    parser.add_argument('--num-images', type=positive, help='number of images, the first of the split')
    parser.add_argument('--backend', choices=['lvis-api', 'hotcoco'], default='lvis-api')
    parser.add_argument('--no-exempt-background', action='store_true', help='TDE of the background too, without Eq. 9')
    args = parser.parse_args()
    check_choice_of_alpha(parser, args)
    return args


def stored_proposals(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> ProposalStore:
    identity = identity_of(runner.cfg, args.split, args.checkpoint, dataset)
    folder = args.features or features_folder(args.config, args.split, args.dtype, identity)
    with plain_errors():
        store = ProposalStore(folder, identity, args.dtype)
    if len(store) < len(dataset):
        print(f'Proposals of {len(dataset) - len(store)} images to {store.folder}', flush=True)
        progress = ProgressBar(len(dataset) - len(store))
        dataloader = remaining_batches(runner, args.split, dataset, len(store), batch_size=1)
        with plain_errors():
            for proposals in iterate_proposals(without_wrappers(runner.model), dataloader):
                store.append(proposals)
                progress.update()
        print()
    return store


def box_metric(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> LVISMetric:
    """Return the config's own ``LVISMetric``, for the boxes of these images."""
    evaluators = runner.cfg[f'{args.split}_evaluator']
    own = [cfg for cfg in (evaluators if isinstance(evaluators, list) else [evaluators])
           if cfg['type'] in ('LVISMetric', 'mmcausal.LVISMetric')]
    if not own:
        sys.exit(f"The {args.split} evaluator of {args.config} has no mmcausal.LVISMetric")
    img_ids = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    with plain_errors():
        metric = METRICS.build(dict(own[0], type='mmcausal.LVISMetric', metric='bbox', img_ids=img_ids,
                                    format_only=False, outfile_prefix=None, metric_items=None, backend=args.backend))
        metric.dataset_meta = dataset.metainfo
    return metric


def average_precision(model: nn.Module, store: ProposalStore, alpha: Alpha, metric: LVISMetric) -> Dict[str, float]:
    for proposals in store:
        meta = proposals['img_meta']
        metric.process({}, [dict(img_id=meta['img_id'], ori_shape=meta['ori_shape'],
                                 pred_instances=detect_again(model, proposals, alpha))])
    results = metric.evaluate(len(store))
    return {name: percent(results[f'lvis/bbox_{name}']) for name in METRIC_GROUPS}


def percent(value: float) -> float:
    return 100 * value if value >= 0 else value  # -1 stays: there is no ground truth


def sweep(model: nn.Module, store: ProposalStore, metric: LVISMetric, args: argparse.Namespace) -> List[Point]:
    """Print and return the metrics for each alpha; 'auto', which has a value for each stage, comes last."""
    points: List[Point] = []
    print(f'{"alpha":>7}' + ''.join(f'{name:>9}' for name in METRIC_GROUPS))
    for alpha in sorted(set(args.alphas), key=lambda alpha: (alpha == 'auto', alpha)):
        points.append(dict(alpha=alpha, **average_precision(model, store, alpha, metric)))
        print(f'{alpha:>7}' + ''.join(f'{points[-1][name]:>9.2f}' for name in METRIC_GROUPS), flush=True)
        if points[0][args.select] < 0:
            sys.exit(f'--select {args.select}: there is no ground truth for it')
    return points


def draw(points: List[Point], marks: Dict[str, float], path: Path) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from mmcausal.visualization import SHOT_COLORS, paper_figure
    from mmcausal.visualization.style import LINE_COLORS
    figure, axes = paper_figure()
    points = [point for point in points if point['alpha'] != 'auto']  # it has marks
    alphas = [point['alpha'] for point in points]
    for name, group in METRIC_GROUPS.items():
        if points and points[0][name] >= 0:
            axes.plot(alphas, [point[name] for point in points], color=SHOT_COLORS[group], marker='.', label=name)
    styles = itertools.cycle(zip(LINE_COLORS[3:] + LINE_COLORS[:2], (':', '--', '-.', '-')))
    for (name, alpha), (color, style) in zip(marks.items(), styles):
        axes.axvline(alpha, color=color, linestyle=style, linewidth=1, label=f'{name}: {alpha:.2f}')
    axes.set(xlabel='alpha (0: total effect)', ylabel='box AP (%)')
    axes.legend(fontsize=6)
    figure.savefig(path)


def main() -> None:
    args = parse_args()
    runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, 'sweep_detector_alpha')
    detector = without_wrappers(runner.model)
    with plain_errors():
        own = alphas_in(detector)[0]
        layers = enable_detector_tde(detector, 1.)
        check_alpha_free_boxes(detector.roi_head)
    runner.load_or_resume()
    for layer in layers:
        with plain_errors():
            layer.resolved_alpha()  # refuses a checkpoint without a direction, before the long pass
        layer.alpha = 0.  # while proposals are made; they do not depend on it
        if args.no_exempt_background:
            layer.exempt_background = False
    dataset = dataset_to_choose_by(runner, args)
    if args.num_images is not None and args.num_images < len(dataset):
        dataset = dataset.get_subset(args.num_images)
    metric = box_metric(runner, args, dataset)
    store = stored_proposals(runner, args, dataset)
    points = sweep(detector, store, metric, args)
    best = max(points, key=lambda point: point[args.select])['alpha']
    marks = auto_alphas(layers)
    print(f'\nBest in box {args.select} on {len(store)} images of the {args.split} split of {args.config}: '
          f'alpha {best}. ' + ', '.join(f'{name} {alpha:.2f}' for name, alpha in marks.items()))
    if args.write_config:
        write_chosen(args, best, len(store))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            num_images=len(store), exempt_background=[layer.exempt_background for layer in layers],
            auto_alphas=marks, select=args.select, chosen=dict(best=best), points=points), indent=1))
        plot = args.out.with_suffix('.png')
        draw(points, {**marks, **{name: alpha for name, alpha in (('config', own), (f'best in {args.select}', best))
                                  if alpha not in (0, 'auto')}}, plot)
        print(f'Plot: {plot}')


if __name__ == '__main__':
    main()
