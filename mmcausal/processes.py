"""Processes that train or test together, on CPUs."""
import contextlib
import time
from typing import Iterator, Union

from torch import distributed

SECONDS_TO_FREE_TENSORS = 0.5


@contextlib.contextmanager
def process_group(**arguments: Union[int, str]) -> Iterator[None]:
    """Join the processes of a gloo group in this context.

    Before the group is destroyed, its threads have half a second to free the tensors of the last collective: PyTorch
    2.1 waits for the threads without releasing the interpreter, and a thread that needs it to free a tensor would wait
    for ever. A group that is not destroyed may abort a process at its end.

    Args:
        arguments: As in ``torch.distributed.init_process_group``. By default from the environment.
    """
    distributed.init_process_group('gloo', **arguments)
    try:
        yield
    finally:
        time.sleep(SECONDS_TO_FREE_TENSORS)
        distributed.destroy_process_group()
