"""Output files that are whole or not there, and checks that no file of the user is replaced unasked."""
import contextlib
import errno
import io
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Iterable, Iterator, Union

import torch

FilePath = Union[str, Path]


class WriteError(OSError):
    """A file cannot be written; the message names it and says why."""


def check_output(path: FilePath, inputs: Iterable[FilePath] = (), overwrite: bool = False) -> Path:
    """Return the path of an output if it can be written and replaces nothing that must stay.

    Args:
        path: The file to write; missing folders are created when it is written.
        inputs: Files that are never replaced, whatever their spelling.
        overwrite: Whether another existing file may be replaced.

    Raises:
        ValueError: An input, an existing file, something that is not a file, or a place where no file can be created.
    """
    path = Path(path)
    for file in inputs:
        if is_same_file(path, file):
            raise ValueError(f'the output must be another file than the input {file}, but got {path}')
    if path.exists():
        if not path.is_file():
            raise ValueError(f'the output must be a file, but {path} is {"a folder" if path.is_dir() else "none"}')
        if not overwrite:
            raise ValueError(f'{path} exists and is not overwritten; choose another file, or say --overwrite')
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise ValueError(f'{path} cannot be written, because {folder} is not a folder')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f'{path} cannot be written, because {folder} is read-only')
    return path


def is_same_file(path: FilePath, other: FilePath) -> bool:
    """Return whether two paths lead to the same file, also through links or other spellings."""
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


@contextlib.contextmanager
def replacing(path: FilePath) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to: renamed to ``path`` at the end, removed after an error.

    So ``path`` always is the old file or the new one. It may be a new folder too. Missing parents are created.

    Raises:
        WriteError: The file cannot be written, e.g. on a full disk.
    """
    target = Path(os.path.realpath(path))  # a link stays, and leads to the new file
    # One name for all runs, so that the next one replaces what a killed one left, and no suffix that others look for
    new = target.with_name(f'.{target.name}.partial')
    with naming(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(new)
        try:
            yield new
            if new.is_file():
                _flush(new)
            new.replace(target)
        finally:
            _remove(new)


@contextlib.contextmanager
def naming(path: FilePath) -> Iterator[None]:
    """Let an ``OSError`` within this context say which file cannot be written; that of a write does not."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f'{path} cannot be written: {error.strerror or error}') from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def _flush(path: Path) -> None:
    """Wait until the content is on the disk, so that after a power cut no new name has an old or empty content."""
    with open(path, 'rb+') as file:
        os.fsync(file.fileno())


def claim_space(file: BinaryIO, size: int) -> None:
    """Extend a new file to ``size`` bytes that the disk has room for, so that a full disk is found at once.

    Raises:
        OSError: Too little space; the message says how many bytes are needed and free.
    """
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(file.name))).free
    try:
        _allocate(file, size, free)
    except OSError as error:
        raise OSError(error.errno, f'it needs {size} bytes, and {free} are free ({error.strerror})') from error


def _allocate(file: BinaryIO, size: int, free: int) -> None:
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except (AttributeError, OSError) as error:  # not on this system, or not on this file system
        if getattr(error, 'errno', None) not in (None, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        if size > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        file.truncate(size)


def write_bytes(path: FilePath, content: bytes) -> None:
    """Write a file whole or not at all, see :func:`replacing`, in space that is claimed before."""
    with replacing(path) as new, open(new, 'wb') as file:
        if content:
            claim_space(file, len(content))
        file.write(content)


def write_text(path: FilePath, text: str, errors: str = 'strict') -> None:
    """Write a text in UTF-8 as :func:`write_bytes` does."""
    write_bytes(path, text.encode('utf-8', errors))


def write_checkpoint(path: FilePath, checkpoint: dict) -> None:
    """Save with :func:`torch.save`, as :func:`write_bytes` does; the same content gives the same bytes."""
    with io.BytesIO() as buffer:
        torch.save(checkpoint, buffer)
        write_bytes(path, buffer.getvalue())
