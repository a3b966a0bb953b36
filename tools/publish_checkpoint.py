"""Write a checkpoint of weights alone, in half precision, with its SHA-256 in its name.

Without optimiser state and in half precision, a checkpoint has a fraction of its size. Models load it as any other one:
the weights are converted when they are copied into the model.
"""
import argparse
import hashlib
import io
from pathlib import Path
from typing import Any, Dict

import torch
from torch import Tensor

from mmcausal.checkpoint_files import read_checkpoint
from mmcausal.commands import add_overwrite_argument, plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.files import check_output, write_bytes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('name', help='name of the model; the file is OUT_DIR/NAME-<first 8 digits of the SHA-256>.pth')
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/published'))
    add_overwrite_argument(parser)
    args = parser.parse_args()
    if not args.checkpoint.is_file():
        parser.error(f'no such checkpoint: {args.checkpoint}')
    return args


def halve(state_dict: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Return the state dict with its floating-point tensors in half precision.

    Raises:
        ValueError: A finite value that is infinite in half precision.
    """
    halved = {}
    for key, value in state_dict.items():
        halved[key] = value.half() if value.is_floating_point() else value
        if not torch.equal(halved[key].isfinite(), value.isfinite()):
            raise ValueError(f'{key} has values beyond half precision, up to {value.abs().max().item():g}')
    return halved


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    checkpoint = read_checkpoint(str(args.checkpoint))
    published: Dict[str, Any] = dict(state_dict=halve(checkpoint.get('state_dict', checkpoint)))
    dataset_meta = checkpoint.get('meta', {}).get('dataset_meta')
    if dataset_meta:  # else the hosts' inferencers would name the classes of COCO or ImageNet
        published['meta'] = dict(dataset_meta=dataset_meta)
    buffer = io.BytesIO()
    torch.save(published, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    out = args.out_dir / f'{args.name}-{digest[:8]}.pth'
    write_bytes(check_output(out, [args.checkpoint], args.overwrite), content)
    print(f'{out}: {len(content) / 1e6:.1f} MB, SHA-256 {digest}')


if __name__ == '__main__':
    main()
