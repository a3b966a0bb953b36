"""Check on a GPU what no CPU can show, beside the same computation on the CPU.

- numbers: logits, TDE, losses and gradients of the classifier layers, and predictions of a small detector;
- no wait: a training step of a classifier in which no operation makes the host wait for the device;
- AMP: half-precision training through steps whose gradients overflow; weights and directions stay finite;
- NCCL: the sum over ranks, in a group of one process;
- throughput: a training step with the linear and the de-confounded head, measured in turns.

Each check adds an entry to the JSON; a failed one ends the program with an error.
"""
import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Callable, Dict, List

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, distributed, nn

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text
from mmcausal.models.layers import DeconfoundLinear, DetectionDeconfoundLinear, TDELinear
from mmcausal.registry import MODELS

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
NORMALIZERS = ('deconfound', 'cosine', 'capsule', 'linear')
Result = Dict[str, float]


def largest_difference(found: List[Tensor], expected: List[Tensor]) -> float:
    """Return the largest difference of two lists of tensors, relative to the largest value of each tensor."""
    differences = [float((a.double().cpu() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-12))
                   for a, b in zip(found, expected)]
    return max(differences)


def outputs_of(layer: TDELinear, x: Tensor) -> List[Tensor]:
    """Return logits, gradients, direction and TDE of a layer after one training step."""
    x = x.clone().requires_grad_()
    logits = layer.train()(x)
    logits.logsumexp(1).sum().backward()
    layer.update_direction(0.9)
    layer.eval().alpha = 1.
    with torch.no_grad():
        return [logits.detach(), x.grad, layer.weight.grad, layer.mean_feature, layer.mean_cosine, layer(x)]


def compare_layers() -> Result:
    """Compare layers on the GPU with the same layers on the CPU."""
    results = {}
    for normalizer in NORMALIZERS:
        for cls, num_outputs in ((DeconfoundLinear, 1000), (DetectionDeconfoundLinear, 1204)):
            torch.manual_seed(0)
            layer = cls(2048, num_outputs, normalizer=normalizer)
            x = torch.randn(256, 2048) + 0.5
            twin = cls(2048, num_outputs, normalizer=normalizer).cuda()
            twin.load_state_dict(layer.state_dict())
            results[f'{cls.__name__} {normalizer}'] = _compared(layer, twin, x)
    return results


def _compared(layer: TDELinear, twin: TDELinear, x: Tensor) -> float:
    if isinstance(layer, DetectionDeconfoundLinear):
        is_foreground = torch.arange(len(x)) % 3 == 0
        with layer.observing(is_foreground), twin.observing(is_foreground.cuda()):
            return largest_difference(outputs_of(twin, x.cuda()), outputs_of(layer, x))
    return largest_difference(outputs_of(twin, x.cuda()), outputs_of(layer, x))


def compare_detector() -> Result:
    """Compare the box probabilities of a small TDE detector on the GPU with those on the CPU."""
    from mmdet.testing import demo_mm_inputs
    from mmdet.utils import register_all_modules
    register_all_modules()
    cfg = Config.fromfile(str(CONFIGS / 'shapes_lvis' / 'cascade_tde_r18.py'))
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    detector.init_weights()
    for head in detector.roi_head.bbox_head:
        head.fc_cls.observe(torch.randn(64, head.fc_cls.in_features).abs())
        head.fc_cls.update_direction(0.)
        head.fc_cls.alpha = 1.
    features = torch.randn(100, *_roi_shape(detector))
    expected = [head(features)[0] for head in detector.eval().roi_head.bbox_head]
    detector.cuda()
    found = [head(features.cuda())[0] for head in detector.roi_head.bbox_head]
    data = detector.data_preprocessor(demo_mm_inputs(2, (3, 192, 256), [4, 5], 24, with_mask=True), True)
    losses, _ = detector.parse_losses(detector.train()(**data, mode='loss'))
    losses.backward()
    if not losses.isfinite():
        raise RuntimeError(f'the losses of the detector on the GPU must be finite, but got {losses}')
    return dict(box_heads=largest_difference(found, expected))


def _roi_shape(detector: nn.Module) -> tuple:
    extractor = detector.roi_head.bbox_roi_extractor[0]
    return extractor.out_channels, *extractor.roi_layers[0].output_size


def small_classifier(head: str) -> nn.Module:
    """Return ResNet-32 with a head of ``configs/cifar100_lt`` on the GPU."""
    cfg = Config.fromfile(str(CONFIGS / 'cifar100_lt' / f'{head}_r32_ir100.py'))
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    return MODELS.build(cfg.model).cuda().to(memory_format=torch.channels_last).train()


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor,
                  scaler: torch.cuda.amp.GradScaler) -> None:
    """Make one step of SGD in half precision, and move the directions."""
    with torch.autocast('cuda', dtype=torch.float16, enabled=scaler.is_enabled()):
        loss = nn.functional.cross_entropy(model.head(model.extract_feat(images)).float(), labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    for layer in model.modules():
        if isinstance(layer, TDELinear):
            layer.update_direction(0.9)


def batch(size: int) -> List[Tensor]:
    images = torch.randn(size, 3, 32, 32, device='cuda').to(memory_format=torch.channels_last)
    return [images, torch.randint(100, (size, ), device='cuda')]


def step_without_wait() -> Result:
    """Run training steps in which PyTorch raises if the host waits for the device."""
    model, scaler = small_classifier('deconfound'), torch.cuda.amp.GradScaler(enabled=False)
    optimizer, data = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), batch(128)
    training_step(model, optimizer, *data, scaler)  # what is made once may wait
    torch.cuda.set_sync_debug_mode('error')
    try:
        training_step(model, optimizer, *data, scaler)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    return dict(steps=1)


def amp_overflow() -> Result:
    """Start AMP with a scale that overflows: the optimiser skips steps, and everything stays finite."""
    model, scaler = small_classifier('deconfound'), torch.cuda.amp.GradScaler(init_scale=2.**60)
    optimizer, data = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), batch(128)
    for _ in range(80):
        training_step(model, optimizer, *data, scaler)
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise RuntimeError('weights and directions must stay finite through overflows')
    return dict(final_scale=scaler.get_scale(), mean_cosine=float(model.head.fc.mean_cosine))


def nccl() -> Result:
    """Sum over a group of one process on NCCL."""
    with tempfile.TemporaryDirectory() as folder:
        distributed.init_process_group('nccl', init_method=f'file://{folder}/store', rank=0, world_size=1)
        layer = DeconfoundLinear(64, 10).cuda()
        layer(torch.randn(8, 64, device='cuda'))
        before = layer.observed.clone()
        distributed.all_reduce(layer.observed)
        distributed.destroy_process_group()
    if not torch.equal(before, layer.observed):
        raise RuntimeError('a sum over one process must change nothing')
    return dict(processes=1)


def throughput(rounds: int = 20, steps: int = 10, size: int = 512) -> Result:
    """Return images/s of training steps with both heads and their ratio, from rounds in turns."""
    runs = {}
    for head in ('linear', 'deconfound'):
        model = small_classifier(head)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        runs[head] = _timed(model, optimizer, batch(size), steps)
        runs[head]()  # warm-up
    seconds: Dict[str, List[float]] = {head: [] for head in runs}
    for _ in range(rounds):
        for head, run in runs.items():
            seconds[head].append(run())
    medians = {head: statistics.median(values) for head, values in seconds.items()}
    return dict({f'{head} images/s': steps * size / value for head, value in medians.items()},
                ratio=medians['deconfound'] / medians['linear'])


def _timed(model: nn.Module, optimizer: torch.optim.Optimizer, data: List[Tensor], steps: int) -> Callable[[], float]:
    scaler = torch.cuda.amp.GradScaler()

    def run() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(steps):
            training_step(model, optimizer, *data, scaler)
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000

    return run


CHECKS = dict(numbers=compare_layers, detector=compare_detector, no_wait=step_without_wait, amp=amp_overflow, nccl=nccl,
              throughput=throughput)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checks', nargs='+', choices=CHECKS, default=list(CHECKS))
    parser.add_argument('--tolerance', type=float, default=1e-4, help='largest relative difference; default 1e-4')
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    if not torch.cuda.is_available():
        parser.error('needs a GPU, but PyTorch finds none')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    results = {}
    for name in args.checks:
        results[name] = CHECKS[name]()
        print(name, json.dumps(results[name]), flush=True)
    differences = [*results.get('numbers', {}).values(), *results.get('detector', {}).values()]
    if any(difference > args.tolerance for difference in differences):
        raise SystemExit(f'GPU and CPU must agree to {args.tolerance}, but differ by {max(differences):.1e}')
    if args.out:
        content = dict(provenance(), gpu=torch.cuda.get_device_name(), results=results)
        write_text(args.out, json.dumps(content, indent=1))


if __name__ == '__main__':
    main()
