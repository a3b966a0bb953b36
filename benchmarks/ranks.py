"""Compare training steps of a causal model and its linear baseline on several ranks of this machine, alternating.

Each rank trains ResNet-32 on 64 random images with one thread, over gloo. More ranks than cores wait for each other, so
compare the two models, not the numbers of ranks. The share of the hook is what it takes after the optimiser step, its
all-reduce included.
"""
import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from alternating import alternate, ratios
from steps import Workload, random_images

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs, integer_argument
from mmcausal.files import write_text
from mmcausal.processes import process_group

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt'


def run_rank(rank: int, number: int, rounds: int, folder: str) -> None:
    """Train both models on one rank; rank 0 leaves the result in the folder."""
    torch.set_num_threads(1)
    with process_group(init_method=f'file://{folder}/store{number}', rank=rank, world_size=number):
        torch.manual_seed(rank)
        batch = random_images(64, (32, 32), 100)
        linear, deconfound = (Workload(CONFIGS / f'{name}_r32_ir100.py', {}, batch)
                              for name in ('linear', 'deconfound'))
        seconds = alternate(dict(linear=linear.train, deconfound=deconfound.train), rounds)
    if rank == 0:
        shares = np.array(deconfound.hook_seconds[-rounds:]) / np.array(seconds['deconfound'])
        result = dict(ratios(seconds, 'linear'), hook_share=round(float(np.median(shares)), 6))
        write_text(Path(folder, f'{number}.json'), json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ranks', type=integer_argument(1), nargs='+', default=[1, 2, 4])
    parser.add_argument('--rounds', type=integer_argument(1), default=30)
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    results = {}
    for number in args.ranks:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(run_rank, (number, args.rounds, folder), nprocs=number)
            results[number] = json.loads(Path(folder, f'{number}.json').read_text(encoding='utf-8'))
        print(json.dumps({number: results[number]}), flush=True)
    if args.out:
        write_text(args.out, json.dumps(dict(provenance(), rounds=args.rounds, ranks=results), indent=1) + '\n')


if __name__ == '__main__':
    main()
