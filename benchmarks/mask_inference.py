"""Compare time and peak memory of the mask branch with MMDetection's, which computes the masks of all classes.

Both run in turns in this process, with the same weights, features and boxes: inference on the detections of each image,
and training (loss and gradients) on its positive proposals. Masks, losses and gradients are compared too. Weights are
random, so set --max-per-img for another number of detections. Seconds are CPU time, so use one thread. Needs Linux with
glibc, for the peak.
"""
import argparse
import copy
import ctypes
import json
import os
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple
from unittest import mock

import numpy as np
import torch
from measurement import measurement_arguments, measurement_parser, write_measurement
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from torch import Tensor, nn

from mmcausal.commands import integer_argument
from mmcausal.models import DetectionDeconfoundLinear
from mmcausal.registry import MODELS

CONFIG = Path(__file__).resolve().parents[1] / 'configs' / 'lvis' / 'cascade_tde_r101.py'
Call = Tuple[tuple, dict]
Run = Callable[[nn.Module, Call], List[Tensor]]


def parse_args() -> argparse.Namespace:
    parser = measurement_parser(__doc__, rounds=3)
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument('--images', type=integer_argument(1), default=2, help='number of images')
    parser.add_argument('--max-per-img', type=integer_argument(1), help="detections per image; default: the config's")
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES))
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to the config')
    return measurement_arguments(parser)


def load_config(args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    cfg.model.backbone.init_cfg = None
    if args.max_per_img:
        cfg.model.test_cfg.rcnn.max_per_img = args.max_per_img
    return cfg


def build_detector(cfg: Config) -> nn.Module:
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    detector.init_weights()
    for layer in detector.modules():
        if isinstance(layer, DetectionDeconfoundLinear):
            layer.mean_feature.uniform_()
    return detector


def host_twin(roi_head: nn.Module) -> nn.Module:
    """Return a view of a RoI head, with the same modules, that computes the masks of all classes."""
    from mmcausal.models.roi_heads import LabelMaskMixin
    twin = copy.copy(roi_head)
    bases = tuple(base for base in type(roi_head).__bases__ if not issubclass(base, LabelMaskMixin))
    twin.__class__ = type('HostMasks', bases, {})
    return twin


def load_batches(cfg: Config, mode: str, num_images: int) -> List[dict]:
    """Return batches of one image each, as the config loads them for training or inference."""
    loader = cfg.train_dataloader if mode == 'training' else cfg.test_dataloader
    loader.update(batch_size=1, num_workers=0, persistent_workers=False)
    loader.pop('batch_sampler', None)
    loader.sampler = dict(type='DefaultSampler', shuffle=False)
    loader.dataset.indices = num_images
    return list(Runner.build_dataloader(loader))


@torch.no_grad()
def recorded_calls(detector: nn.Module, batch: dict, mode: str) -> Tuple[List[Call], float]:
    """Run a detector up to its mask branch; return the calls of that, and the seconds of all before."""
    calls: List[Call] = []

    def record(*args: object, **kwargs: object) -> object:
        calls.append((args, kwargs))
        return dict(loss_mask={}) if mode == 'training' else kwargs.get('results_list') or args[2]

    with mock.patch.object(detector.roi_head, 'mask_loss' if mode == 'training' else 'predict_mask', record):
        data = detector.train(mode == 'training').data_preprocessor(batch, mode == 'training')
        start = time.process_time()
        detector(**data, mode='loss' if mode == 'training' else 'predict')
    return calls, time.process_time() - start


@torch.no_grad()
def infer(roi_head: nn.Module, call: Call) -> List[Tensor]:
    """Predict masks; return the probabilities (N, 1, h, w) that the host pastes."""
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head
    probs, paste = [], fcn_mask_head._do_paste_mask

    def recording(masks: Tensor, *args: object, **kwargs: object) -> object:
        probs.append(masks.clone())
        return paste(masks, *args, **kwargs)

    with mock.patch.object(fcn_mask_head, '_do_paste_mask', recording):
        roi_head.predict_mask(*call[0], **call[1])
    return [torch.cat(probs)]


def train(roi_head: nn.Module, call: Call) -> List[Tensor]:
    """Return the mask loss and its gradients for the parameters of the mask heads and the features."""
    features = next(value for value in (*call[0], *call[1].values()) if isinstance(value, (tuple, list))
                    and isinstance(value[0], Tensor))
    inputs = [*roi_head.mask_head.parameters(), *(feature.requires_grad_() for feature in features)]
    loss = roi_head.mask_loss(*call[0], **call[1])['loss_mask']['loss_mask'].sum()
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [loss.detach(), *(grad for grad in grads if grad is not None)]


MODES: Dict[str, Run] = dict(inference=infer, training=train)


def memory(field: str) -> float:
    """Return a field of this process's status in GB: ``VmRSS``, the memory in use, or ``VmHWM``, its peak."""
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    line, = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e9


def reset_peak() -> None:
    file = os.open('/proc/self/clear_refs', os.O_WRONLY)
    os.write(file, b'5')
    os.close(file)


def measured(run: Run, roi_head: nn.Module, call: Call) -> Tuple[float, float, List[Tensor]]:
    """Return seconds, peak memory in GB beyond that before, and the outputs of one run."""
    call = copy.deepcopy(call)  # the host rescales boxes in place
    ctypes.CDLL(None).malloc_trim(0)  # free memory that the process holds would hide a peak
    reset_peak()
    before, start = memory('VmRSS'), time.process_time()
    outputs = run(roi_head, call)
    return time.process_time() - start, memory('VmHWM') - before, outputs


def compare(detector: nn.Module, batches: List[dict], mode: str, rounds: int) -> dict:
    """Run both mask branches in turns on each image, and return what they cost and how they differ."""
    roi_heads = dict(host=host_twin(detector.roi_head), label=detector.roi_head)
    values: Dict[str, Dict[str, List[float]]] = {name: dict(seconds=[], peak_gb=[]) for name in roi_heads}
    differences, sizes, rest = [], [], []
    for batch in batches:
        calls, seconds = recorded_calls(detector, batch, mode)
        rest.append(seconds)
        for index in range(rounds):
            order = list(roi_heads) if index % 2 else list(roi_heads)[::-1]
            runs = {name: [measured(MODES[mode], roi_heads[name], call) for call in calls] for name in order}
            for name, stages in runs.items():
                values[name]['seconds'].append(sum(seconds for seconds, _, _ in stages))
                values[name]['peak_gb'].append(max(peak for _, peak, _ in stages))
            pairs = [pair for host, label in zip(runs['host'], runs['label']) for pair in zip(host[2], label[2])]
            differences.append(max(float((a - b).abs().max()) for a, b in pairs))
            sizes.append(sum(len(outputs[0]) if mode == 'inference' else 0 for _, _, outputs in runs['label']))
        print(f'{mode}: {values["label"]["seconds"][-1]:.2f} s, host {values["host"]["seconds"][-1]:.2f} s, largest '
              f'difference {differences[-1]:.1e}', flush=True)
    return dict(values, **summary(values), rest_seconds=rest, largest_difference=max(differences), masks=sizes)


def summary(values: Dict[str, Dict[str, List[float]]]) -> dict:
    """Return the ratios of adjacent runs, host / ours: median, quartiles, lowest and highest."""
    ratios = {f'{key}_ratio': np.array(values['host'][key]) / np.array(values['label'][key])
              for key in ('seconds', 'peak_gb')}
    names, ranks = ('lowest', 'quartile_1', 'median', 'quartile_3', 'highest'), (0, 25, 50, 75, 100)
    return {key: dict(zip(names, np.percentile(ratio, ranks).round(3).tolist())) for key, ratio in ratios.items()}


def main() -> None:
    args = parse_args()
    from mmdet.utils import register_all_modules
    register_all_modules()
    cfg, results = load_config(args), {}
    detector = build_detector(cfg)
    for mode in args.modes:
        results[mode] = compare(detector, load_batches(cfg, mode, args.images), mode, args.rounds)
        print(mode, json.dumps({key: value for key, value in results[mode].items() if 'ratio' in key}), flush=True)
    write_measurement(args, config=args.config.stem, images=args.images, results=results)


if __name__ == '__main__':
    main()
