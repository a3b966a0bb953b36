"""Functions that run on two ranks at once."""
import torch

from mmcausal.processes import process_group


def on_two_ranks(function, folder, *args):
    """Call ``function(rank, folder, *args)`` in two processes, and return what each saved as ``{rank}.pth``."""
    torch.multiprocessing.spawn(_on_a_rank, (function, folder, args), nprocs=2)
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


def _on_a_rank(rank, function, folder, args):
    with process_group(init_method=f'file://{folder}/store', rank=rank, world_size=2):
        function(rank, folder, *args)
