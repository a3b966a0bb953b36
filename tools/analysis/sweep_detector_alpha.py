"""Sweep alpha of a trained detector by box AP, and choose one on validation images, never on test images.

The network runs once over the split and the inputs of its box heads are stored (some megabytes per image; choose fewer
images with --num-images). Every alpha after that costs classifier, NMS and evaluation alone. Masks would need the
network again, so the metric is box AP. A cascade needs class-agnostic boxes, as in the configs for LVIS.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Dict, List

from arguments import (
    add_alphas_argument,
    add_config_arguments,
    add_feature_arguments,
    add_sweep_arguments,
    dataset_to_choose_by,
    plain_errors,
)
from mmengine.dataset import BaseDataset
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import nn

from mmcausal.analysis import (
    ProposalStore,
    auto_alphas,
    detect_again,
    features_folder,
    identity_of,
    iterate_proposals,
    quiet_runner,
    remaining_batches,
)
from mmcausal.analysis.proposal_store import check_alpha_free_boxes
from mmcausal.encoding import use_utf8
from mmcausal.evaluation import LVISMetric
from mmcausal.models import enable_detector_tde
from mmcausal.registry import METRICS

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
    return parser.parse_args()


def stored_proposals(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> ProposalStore:
    identity = identity_of(runner.cfg, args.split, args.checkpoint, dataset)
    folder = args.features or features_folder(args.config, args.split, args.dtype, identity)
    with plain_errors():
        store = ProposalStore(folder, identity, args.dtype)
    if len(store) < len(dataset):
        print(f'Proposals of {len(dataset) - len(store)} images to {store.folder}', flush=True)
        progress = ProgressBar(len(dataset) - len(store))
        dataloader = remaining_batches(runner, args.split, dataset, len(store), batch_size=1)
        for proposals in iterate_proposals(runner.model, dataloader):
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


def average_precision(model: nn.Module, store: ProposalStore, alpha: float, metric: LVISMetric) -> Dict[str, float]:
    for proposals in store:
        meta = proposals['img_meta']
        metric.process({}, [dict(img_id=meta['img_id'], ori_shape=meta['ori_shape'],
                                 pred_instances=detect_again(model, proposals, alpha))])
    results = metric.evaluate(len(store))
    return {name: percent(results[f'lvis/bbox_{name}']) for name in METRIC_GROUPS}


def percent(value: float) -> float:
    return 100 * value if value >= 0 else value  # -1 stays: there is no ground truth


def sweep(model: nn.Module, store: ProposalStore, metric: LVISMetric,
          args: argparse.Namespace) -> List[Dict[str, float]]:
    """Print and return the metrics for each alpha."""
    points: List[Dict[str, float]] = []
    print(f'{"alpha":>7}' + ''.join(f'{name:>9}' for name in METRIC_GROUPS))
    for alpha in sorted(set(args.alphas)):
        points.append(dict(alpha=alpha, **average_precision(model, store, alpha, metric)))
        print(f'{alpha:>7.2f}' + ''.join(f'{points[-1][name]:>9.2f}' for name in METRIC_GROUPS), flush=True)
        if points[0][args.select] < 0:
            sys.exit(f'--select {args.select}: there is no ground truth for it')
    return points


def draw(points: List[Dict[str, float]], marks: Dict[str, float], path: Path) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from mmcausal.visualization import draw_over_alpha, paper_figure
    figure, axes = paper_figure()
    measured = {name: group for name, group in METRIC_GROUPS.items() if points[0][name] >= 0}
    draw_over_alpha(axes, points, measured, marks)
    axes.set_ylabel('box AP (%)')
    figure.savefig(path)


def main() -> None:
    use_utf8()
    args = parse_args()
    runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, 'sweep_detector_alpha')
    with plain_errors():
        layers = enable_detector_tde(runner.model, 1.)
        check_alpha_free_boxes(runner.model.roi_head)
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
    points = sweep(runner.model, store, metric, args)
    best = max(points, key=lambda point: point[args.select])['alpha']
    marks = auto_alphas(layers)
    print(f'\nBest in box {args.select} on {len(store)} images of the {args.split} split of {args.config}: '
          f'alpha {best:g}. ' + ', '.join(f'{name} {alpha:.2f}' for name, alpha in marks.items()))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            num_images=len(store), exempt_background=[layer.exempt_background for layer in layers],
            auto_alphas=marks, select=args.select, chosen=dict(best=best), points=points), indent=1), encoding='utf-8')
        plot = args.out.with_suffix('.png')
        draw(points, {**marks, f'best in {args.select}': best}, plot)
        print(f'Plot: {plot}')


if __name__ == '__main__':
    main()
