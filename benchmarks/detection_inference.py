"""Compare the inference time of a detector with TDE and of its baseline, alternating on the same images, by phase.

Without checkpoints, both have the same random weights. Then set --score-thr, because otherwise the number of
detections, and the time that it costs, differs by chance. With 0, both have as many as the config admits.
"""
import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import torch
from measurement import measurement_arguments, measurement_parser, write_measurement
from mmengine.config import Config, DictAction
from mmengine.runner import Runner, load_checkpoint
from torch import nn

from mmcausal.commands import integer_argument
from mmcausal.models import DetectionDeconfoundLinear
from mmcausal.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'lvis'


def parse_args() -> argparse.Namespace:
    parser = measurement_parser(__doc__, rounds=3)
    parser.add_argument('--config', type=Path, default=CONFIGS / 'cascade_tde_r101.py')
    parser.add_argument('--baseline', type=Path, default=CONFIGS / 'cascade_baseline_r101.py')
    parser.add_argument('--checkpoint', help='checkpoint of the config; default: random weights')
    parser.add_argument('--baseline-checkpoint', help='checkpoint of the baseline; default: random weights')
    parser.add_argument('--images', type=integer_argument(1), default=5, help='number of test images')
    parser.add_argument('--score-thr', type=float, help="score threshold; default: the configs' own")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to both configs')
    return measurement_arguments(parser)


def phases_of(detector: nn.Module) -> Dict[str, Tuple[nn.Module, str]]:
    """Return the method that is each phase of an inference, as its owner and its name."""
    roi_head = detector.roi_head
    is_cascade = isinstance(roi_head.bbox_head, nn.ModuleList)
    last_box_head = roi_head.bbox_head[-1] if is_cascade else roi_head.bbox_head
    return {
        'backbone and neck': (detector, 'extract_feat'),
        'proposals': (detector.rpn_head, 'predict'),
        'box heads': (roi_head, '_refine_roi' if is_cascade else '_bbox_forward'),
        'boxes and NMS': (last_box_head, 'predict_by_feat'),
        'masks': (roi_head, 'predict_mask'),
    }


class TimedDetector:
    """Detector that records the seconds of an inference, in all and by phase, and the number of its detections."""

    def __init__(self, detector: nn.Module) -> None:
        self.detector = detector
        self._seconds: Dict[str, float] = {}
        for phase, (owner, name) in phases_of(detector).items():
            setattr(owner, name, self._timed(phase, getattr(owner, name)))

    def _timed(self, phase: str, method: Callable) -> Callable:
        def timed(*args: object, **kwargs: object) -> object:
            start = time.perf_counter()
            result = method(*args, **kwargs)
            self._seconds[phase] += time.perf_counter() - start
            return result
        return timed

    @torch.no_grad()
    def run(self, batch: dict) -> Dict[str, float]:
        """Return the seconds of an inference by phase, and the number of detections."""
        self._seconds = defaultdict(float)
        start = time.perf_counter()
        predictions = self.detector.test_step(batch)
        total = time.perf_counter() - start
        detections = sum(len(sample.pred_instances) for sample in predictions)
        return dict(self._seconds, total=total, detections=detections)


def load_config(path: Path, args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(args.cfg_options)
    cfg.model.backbone.init_cfg = None
    if args.score_thr is not None:
        cfg.model.test_cfg.rcnn.score_thr = args.score_thr
    return cfg


def build_models(args: argparse.Namespace) -> List[nn.Module]:
    """Build the detectors of config and baseline, with the same random weights or each with its checkpoint."""
    torch.manual_seed(0)
    config, baseline = (MODELS.build(load_config(path, args).model) for path in (args.config, args.baseline))
    config.load_state_dict(baseline.state_dict(), strict=False)
    for layer in config.modules():
        if isinstance(layer, DetectionDeconfoundLinear):
            layer.mean_feature.uniform_()
    for model, checkpoint in ((config, args.checkpoint), (baseline, args.baseline_checkpoint)):
        if checkpoint:
            load_checkpoint(model, checkpoint, map_location='cpu')
    return [config.eval(), baseline.eval()]


def load_batches(args: argparse.Namespace) -> List[dict]:
    cfg = load_config(args.baseline, args)
    cfg.test_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.indices = args.images
    return list(Runner.build_dataloader(cfg.test_dataloader))


def compare(models: List[nn.Module], batches: List[dict], rounds: int) -> dict:
    """Return medians by phase of both models, and the median of the ratios of adjacent runs."""
    timed = [TimedDetector(model) for model in models]
    runs: List[List[Dict[str, float]]] = [[], []]
    for round_index in range(rounds + 1):
        for batch in batches:
            pair = [each.run(batch) for each in timed]
            if round_index >= 1:  # warm by then
                for values, result in zip(runs, pair):
                    values.append(result)
        print(f'round {round_index} of {rounds}', flush=True)
    totals = [[run['total'] for run in values] for values in runs]
    ratios = np.array(totals[0]) / np.array(totals[1])
    phases = {phase: [round(float(np.median([run.get(phase, 0.) for run in values])), 5) for values in runs]
              for phase in (*phases_of(models[0]), 'detections')}
    return dict(seconds_per_image=[float(np.median(times)) for times in totals], ratio=float(np.median(ratios)),
                ratio_quartiles=np.percentile(ratios, [25, 75]).round(4).tolist(), phases=phases, seconds=totals)


def main() -> None:
    args = parse_args()
    from mmdet.utils import register_all_modules
    register_all_modules()
    result = compare(build_models(args), load_batches(args), args.rounds)
    for phase, (config, baseline) in result['phases'].items():
        print(f'{phase}: {config:g}, baseline {baseline:g}')
    seconds = result['seconds_per_image']
    print(f'{args.config.stem} {seconds[0]:.3f} s, {args.baseline.stem} {seconds[1]:.3f} s per image, median ratio of '
          f'adjacent runs {result["ratio"]:.3f}')
    write_measurement(args, config=args.config.stem, baseline=args.baseline.stem, score_thr=args.score_thr, **result)


if __name__ == '__main__':
    main()
