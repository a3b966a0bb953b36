"""Processes that train or test together, on CPUs."""
import contextlib
import time
from typing import Iterator, Union

from torch import distributed

SECONDS = 0.5  # for threads to free their tensors


@contextlib.contextmanager
def process_group(**arguments: Union[int, str]) -> Iterator[None]:
    """Join the processes of a gloo group in this context.

    At its end, the group's threads have time to free the tensors of the last collective: PyTorch 2.1 waits for the
    threads without releasing the interpreter, and a thread that needs it to free a tensor would wait for ever. Without
    destroying the group, the threads may abort a process that ends with them.

    Args:
        arguments: As in ``torch.distributed.init_process_group``. By default from the environment.
    """
    distributed.init_process_group('gloo', **arguments)
    try:
        yield
    finally:
        time.sleep(SECONDS)
        distributed.destroy_process_group()
