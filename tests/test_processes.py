"""Groups of processes."""
import pytest
import torch
from torch import distributed

from mmcausal.processes import process_group


def test_a_group_ends_with_its_context(tmp_path):
    arguments = dict(init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    with process_group(**arguments):
        total = torch.ones(3)
        distributed.all_reduce(total)
        assert total.tolist() == [1, 1, 1]
    assert not distributed.is_initialized()
    with pytest.raises(KeyError, match='a fault'), process_group(**dict(arguments, init_method=f'file://{tmp_path}/2')):
        raise KeyError('a fault')
    assert not distributed.is_initialized()
