"""Compare training steps of a causal model and its linear baseline on several ranks of this machine, alternating.

Each rank trains ResNet-32 on 64 random images over gloo, by default with one thread. More ranks than cores wait for
each other, so compare the two models, not the numbers of ranks. The share of the hook is what it takes after the
optimiser step, its all-reduce included.
"""
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from alternating import alternate, ratios
from measurement import measurement_arguments, measurement_parser, write_measurement
from steps import Workload, random_images

from mmcausal.commands import integer_argument
from mmcausal.files import write_text
from mmcausal.processes import process_group

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt'


def run_rank(rank: int, number: int, threads: int, rounds: int, folder: str) -> None:
    """Train both models on one rank; rank 0 leaves the result in the folder."""
    torch.set_num_threads(threads)
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
    parser = measurement_parser(__doc__, rounds=30)
    parser.set_defaults(threads=1)
    parser.add_argument('--ranks', type=integer_argument(1), nargs='+', default=[1, 2, 4])
    args = measurement_arguments(parser)
    results = {}
    for number in args.ranks:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(run_rank, (number, args.threads, args.rounds, folder), nprocs=number)
            results[number] = json.loads(Path(folder, f'{number}.json').read_text(encoding='utf-8'))
        print(json.dumps({number: results[number]}), flush=True)
    write_measurement(args, ranks=results)


if __name__ == '__main__':
    main()
