"""Sweep alpha of a trained detector by box AP, and choose one on validation images, never on test images.

The network runs once over the split and the inputs of its box heads are stored (some megabytes per image; choose fewer
images with --num-images). Every alpha after that costs classifier, NMS and evaluation alone. Masks would need the
network again, so the metric is box AP: of all classes, and of rare, common and frequent ones. It is that of the config,
LVISMetric or CocoMetric. A cascade needs class-agnostic boxes, as in the configs for LVIS. With --write-config OUT.py,
the chosen alpha goes into a new config, for tests and inferencers alike.
"""
import argparse
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Dict, List, Union

import numpy as np
from arguments import (
    add_alphas_argument,
    add_config_arguments,
    add_feature_arguments,
    add_sweep_arguments,
    check_choice_of_alpha,
    dataset_to_choose_by,
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
    check_held_out,
    check_names,
    detect_again,
    features_folder,
    identity_of,
    iterate_proposals,
    load_weights,
    quiet_runner,
    remaining_batches,
)
from mmcausal.commands import check_outputs, integer_argument, plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.evaluation import CocoMetric, LVISMetric
from mmcausal.files import write_text
from mmcausal.models import enable_detector_tde
from mmcausal.models.enable_tde import without_wrappers
from mmcausal.models.layers import Alpha
from mmcausal.models.roi_heads.total_effect import check_alpha_free_boxes
from mmcausal.registry import METRICS

Point = Dict[str, Union[float, str]]
# Box AP metrics, and the shot group with the same colour
METRIC_GROUPS = dict(AP='overall', APr='few', APc='medium', APf='many')
Metric = Union[LVISMetric, CocoMetric]
ADVICE = """Hold out training images instead:
  python tools/dataset_converters/hold_out_coco.py TRAIN.json KEPT.json HELD_OUT.json --per-category 10
Then train on KEPT.json (train_dataloader.dataset.ann_file), and choose alpha on HELD_OUT.json, with the config that the
training wrote to its work_dir:
  --cfg-options val_dataloader.dataset.ann_file=HELD_OUT.json val_dataloader.dataset.data_prefix.img=TRAIN_IMAGES/ \
      val_evaluator.ann_file=HELD_OUT.json
(the dataset looks for ann_file in its data_root, the evaluator in this folder)"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    add_feature_arguments(parser)
    add_alphas_argument(parser, [0, 0.5, 1, 1.5, 2, 2.5])
    add_sweep_arguments(parser, 'AP')  # the groups are the metric's
    parser.set_defaults(dtype='float16')
    parser.add_argument('--num-images', type=integer_argument(1), help='number of images, the first of the split')
    parser.add_argument('--backend', choices=['auto', 'lvis-api', 'hotcoco'], default='auto')
    parser.add_argument('--no-exempt-background', action='store_true', help='TDE of the background too, without Eq. 9')
    args = parser.parse_args()
    check_choice_of_alpha(parser, args)
    if args.write_config and args.no_exempt_background:
        parser.error('--write-config writes alpha alone, so it needs the exemption of the background as in the config: '
                     'leave out --no-exempt-background')
    check_outputs(parser, args, args.out, args.write_config, args.out and args.out.with_suffix('.png'))
    return args


def stored_proposals(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> ProposalStore:
    identity = identity_of(runner.cfg, args.split, args.checkpoint, dataset)
    folder = args.features or features_folder(args.config, args.split, args.dtype, identity)
    check_names(runner, dataset)
    store = ProposalStore(folder, identity, args.dtype)
    if len(store) < len(dataset):
        print(f'Proposals of {len(dataset) - len(store)} images to {store.folder}', flush=True)
        progress = ProgressBar(len(dataset) - len(store))
        dataloader = remaining_batches(runner, args.split, dataset, len(store), batch_size=1)
        for proposals in iterate_proposals(without_wrappers(runner.model), dataloader):
            store.append(proposals)
            progress.update()
        print()
    return store


def box_metric(runner: Runner, args: argparse.Namespace, dataset: BaseDataset) -> Metric:
    """Return the config's own metric, for the boxes of these images."""
    evaluators = runner.cfg[f'{args.split}_evaluator']
    own = [cfg for cfg in (evaluators if isinstance(evaluators, list) else [evaluators])
           if type_name(cfg) in ('LVISMetric', 'CocoMetric')]
    if not own:
        sys.exit(f'The {args.split} evaluator of {args.config} has no mmcausal.LVISMetric or mmcausal.CocoMetric')
    img_ids = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    cfg = dict(own[0], metric='bbox', format_only=False, outfile_prefix=None, metric_items=None, classwise=False)
    if type_name(cfg) == 'CocoMetric':
        metric: Metric = METRICS.build(with_counts(dict(cfg, type='mmcausal.CocoMetric'), runner, dataset))
        metric.img_ids = img_ids
    else:
        metric = METRICS.build(dict(cfg, type='mmcausal.LVISMetric', img_ids=img_ids, backend=args.backend))
    metric.dataset_meta = dataset.metainfo
    return metric


def type_name(cfg: dict) -> str:
    """Return the name of a config's component, without its scope."""
    return cfg['type'].split('.')[-1] if isinstance(cfg['type'], str) else cfg['type'].__name__


def with_counts(cfg: dict, runner: Runner, dataset: BaseDataset) -> dict:
    """Let a ``CocoMetric`` without training images count those of the config's training data.

    Raises:
        ValueError: No annotation file to evaluate on, or not one to train on.
    """
    if cfg.get('ann_file') is None:
        raise ValueError('CocoMetric must have the ann_file of the images to sweep over, but got None')
    if {'train_ann_file', 'class_counts', 'groups'} & set(cfg) or 'class_counts' in dataset.metainfo:
        return cfg
    train = (runner.cfg.get('train_dataloader') or {}).get('dataset', {})
    while 'dataset' in train:
        train = train.dataset
    if not train.get('ann_file'):
        raise ValueError('CocoMetric must have train_ann_file or class_counts, because the config does not train on '
                         f'one annotation file, but got {cfg}')
    return dict(cfg, train_ann_file=os.path.join(train.get('data_root') or '', train.ann_file))


def group_names(metric: Metric) -> List[str]:
    """Return the names of the results to print: AP of all classes, and of each group."""
    if isinstance(metric, CocoMetric):
        return ['AP', *(metric.group_key('bbox', name)[len('bbox_'):] for name in metric.groups)]
    return list(METRIC_GROUPS)


def average_precision(model: nn.Module, store: ProposalStore, alpha: Alpha, metric: Metric) -> Dict[str, float]:
    for proposals in store:
        meta = proposals['img_meta']
        metric.process({}, [dict(img_id=meta['img_id'], ori_shape=meta['ori_shape'],
                                 pred_instances=detect_again(model, proposals, alpha))])
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports each of its steps
        results = metric.evaluate(len(store))
    values = {name.split('/', 1)[1][len('bbox_'):]: value for name, value in results.items()}
    if isinstance(metric, CocoMetric):  # the host rounds mAP
        values['AP'] = mean_ap(metric)
    return {name: percent(values[name]) for name in group_names(metric)}


def mean_ap(metric: CocoMetric) -> float:
    aps = metric.category_aps.get('bbox', np.zeros(1))
    return float(np.nanmean(aps)) if not np.isnan(aps).all() else -1.


def percent(value: float) -> float:
    return 100 * value if value >= 0 else value  # -1 stays: there is no ground truth


def sweep(model: nn.Module, store: ProposalStore, metric: Metric, args: argparse.Namespace) -> List[Point]:
    """Print and return the metrics for each alpha; 'auto', which has a value for each stage, comes last."""
    points: List[Point] = []
    widths = {name: max(9, len(name) + 2) for name in group_names(metric)}
    print(f'{"alpha":>7}' + ''.join(f'{name:>{width}}' for name, width in widths.items()))
    for alpha in sorted(set(args.alphas), key=lambda alpha: (alpha == 'auto', alpha)):
        points.append(dict(alpha=alpha, **average_precision(model, store, alpha, metric)))
        row = ''.join(f'{points[-1][name]:>{width}.2f}' for name, width in widths.items())
        print(f'{alpha:>7}{row}', flush=True)
        if points[0][args.select] < 0:
            sys.exit(f'--select {args.select}: there is no ground truth for it')
    return points


def draw(points: List[Point], marks: Dict[str, float], path: Path) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from mmcausal.visualization import draw_over_alpha, paper_figure, save_figure
    figure, axes = paper_figure()
    points = [point for point in points if point['alpha'] != 'auto']  # it has marks
    measured = {name: METRIC_GROUPS.get(name, name) for name in (points[0] if points else [])
                if name != 'alpha' and points[0][name] >= 0}
    draw_over_alpha(axes, points, measured, marks)
    axes.set_ylabel('box AP (%)')
    save_figure(figure, path)


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, 'sweep_detector_alpha')
    detector = without_wrappers(runner.model)
    own = alphas_in(detector)[0]
    layers = enable_detector_tde(detector, 1.)
    check_alpha_free_boxes(detector.roi_head)
    load_weights(runner)
    for layer in layers:
        layer.resolved_alpha()  # refuses a checkpoint without a direction, before the long pass
        layer.alpha = 0.  # while proposals are made; they do not depend on it
        if args.no_exempt_background:
            layer.exempt_background = False
    dataset = dataset_to_choose_by(runner, args, ADVICE)
    check_held_out(runner.cfg, args.split, dataset)
    if args.num_images is not None and args.num_images < len(dataset):
        dataset = dataset.get_subset(args.num_images)
    metric = box_metric(runner, args, dataset)
    if args.select not in group_names(metric):
        sys.exit(f'--select must be one of {", ".join(group_names(metric))}, but got {args.select}')
    store = stored_proposals(runner, args, dataset)
    points = sweep(detector, store, metric, args)
    best = max(points, key=lambda point: point[args.select])['alpha']
    marks = auto_alphas(layers)
    print(f'\nBest in box {args.select} on {len(store)} images of the {args.split} split of {args.config}: '
          f'alpha {best}. ' + ', '.join(f'{name} {alpha:.2f}' for name, alpha in marks.items()))
    if args.out:
        write_text(args.out, json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            num_images=len(store), exempt_background=[layer.exempt_background for layer in layers],
            auto_alphas=marks, select=args.select, chosen=dict(best=best), points=points), indent=1))
        plot = args.out.with_suffix('.png')
        draw(points, {**marks, **{name: alpha for name, alpha in (('config', own), (f'best in {args.select}', best))
                                  if alpha not in (0, 'auto')}}, plot)
        print(f'Plot: {plot}')
    if args.write_config:
        write_chosen(args, best, len(store))


if __name__ == '__main__':
    main()
