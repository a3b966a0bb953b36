"""Export a trained classifier with its TDE to ONNX, and compare onnxruntime with PyTorch.

The input `images` (N, channels, H, W) ranges from 0 to 255, in the network's channel order (RGB with the configs of
this package); the normalisation is in the graph. The output is `logits` (N, C); their softmax is the distribution.
Head direction and alpha are folded into the weights, so TDE costs nothing at inference.
"""
import argparse
import inspect
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope

from mmcausal.analysis import provide_class_counts
from mmcausal.checkpoint_files import read_checkpoint
from mmcausal.checkpoints import check_checkpoint, differences, shapes_of, weights_of
from mmcausal.commands import (
    add_options_argument,
    add_overwrite_argument,
    alpha_argument,
    check_outputs,
    file_argument,
    integer_argument,
    plain_errors,
)
from mmcausal.config_files import errors_naming, read_config, scope_of
from mmcausal.encoding import use_utf8
from mmcausal.files import replacing
from mmcausal.hosts import require_packages
from mmcausal.models import DeployedClassifier, enable_tde
from mmcausal.models.enable_tde import alpha_of, without_wrappers
from mmcausal.registry import MODELS

TOLERANCE = 1e-4  # of logits up to 10; of larger ones 1e-5 of the largest, a hundred times float32's rounding
# A checkpoint without the first three has no TDE, one without the last gets it from the data
OPTIONAL = ('mean_feature', 'mean_cosine', 'num_updates', 'log_prior')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=file_argument)
    parser.add_argument('checkpoint', type=file_argument)
    parser.add_argument('out', type=Path, help='.onnx file')
    add_overwrite_argument(parser)
    parser.add_argument('--classifier', default='head.fc', help='name of the classifier layer; default head.fc')
    parser.add_argument('--alpha', type=alpha_argument, help="alpha of TDE, or auto; default: the config's, 0 for a "
                        'stock classifier')
    parser.add_argument('--image-size', type=integer_argument(1), nargs=2, required=True, metavar=('HEIGHT', 'WIDTH'),
                        help='size of the network input, e.g. 224 224; only the batch size stays free')
    parser.add_argument('--channels', type=integer_argument(1), default=3)
    parser.add_argument('--opset', type=int, default=17)
    add_options_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def load_classifier(args: argparse.Namespace) -> torch.nn.Module:
    cfg = read_config(args.config, args.cfg_options, needs=['model'])
    init_default_scope(scope_of(cfg))
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    with errors_naming(f'{args.config} must be a config that can be built'):
        model = without_wrappers(MODELS.build(cfg.model))
    enable_tde(model, alpha_of(model, args.classifier) if args.alpha is None else args.alpha, args.classifier)
    state = weights_of(read_checkpoint(args.checkpoint))
    own = {name: shape for name, shape in shapes_of(model.state_dict()).items()
           if name in state or name.split('.')[-1] not in OPTIONAL}
    check_checkpoint(f'{args.config} ({args.checkpoint})', differences(own, shapes_of({
        name: value for name, value in state.items() if name in own})))
    model.load_state_dict(state, strict=False)
    provide_class_counts(model, cfg)
    return model.eval()


@plain_errors()
@torch.no_grad()
def main() -> None:
    use_utf8()
    args = parse_args()
    require_packages('export_onnx.py', 'onnx', 'onnxruntime')
    import onnxruntime
    classifier = load_classifier(args)
    deployed = DeployedClassifier(classifier, args.classifier).eval()
    with replacing(args.out) as new:
        export(deployed, new, args)
    session = onnxruntime.InferenceSession(str(args.out), providers=['CPUExecutionProvider'])
    images = torch.randint(0, 256, (5, args.channels, *args.image_size)).float()
    logits = deployed(images).numpy()
    difference = np.abs(session.run(None, dict(images=images.numpy()))[0] - logits).max()
    print(f'{args.out}, alpha {alpha_of(classifier, args.classifier)}: '
          f'logits of onnxruntime and PyTorch differ by at most {difference:.1e}')
    tolerance = TOLERANCE * max(1, np.abs(logits).max() / 10)
    if not difference < tolerance:  # not a number is not below it either
        sys.exit(f'That is more than {tolerance:.1e}')


def export(model: DeployedClassifier, out: Path, args: argparse.Namespace) -> None:
    images = torch.randint(0, 256, (2, args.channels, *args.image_size)).float()
    # Newer PyTorch must be asked for the exporter by tracing
    by_tracing = dict(dynamo=False) if 'dynamo' in inspect.signature(torch.onnx.export).parameters else {}
    with errors_naming(f'--channels {args.channels}, --image-size {args.image_size} and --opset {args.opset} must fit '
                       f'{args.config} and PyTorch'):
        torch.onnx.export(model, images, str(out), input_names=['images'], output_names=['logits'],
                          dynamic_axes=dict(images={0: 'batch'}, logits={0: 'batch'}), opset_version=args.opset,
                          **by_tracing)


if __name__ == '__main__':
    main()
