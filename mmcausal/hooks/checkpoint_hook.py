"""Checkpoints that are whole or not there, of which the last one stays until the next one is saved."""
import contextlib
import os
import re
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import BaseStorageBackend, LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook as HostCheckpointHook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import find_latest_checkpoint

from mmcausal.files import write_bytes
from mmcausal.registry import HOOKS
from mmcausal.temporary import temporarily

WHOLE_FILES = 'mmcausal.WholeFiles'


@register_backend(WHOLE_FILES)
class WholeFilesBackend(LocalBackend):
    """Local disk on which an interrupted write leaves the old file or the new one, never a half one."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        write_bytes(filepath, obj)


class RemovalsPutOff:
    """A storage backend that notes what it is asked to remove."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self.backend = backend
        self.removals: List[Tuple[Callable[[str], None], str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.removals.append((self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.removals.append((self.backend.rmtree, path))


@HOOKS.register_module()
class CheckpointHook(HostCheckpointHook):
    """Same as MMEngine's, except that a training killed at any time, or by a full disk, keeps a checkpoint to resume.

    A checkpoint on a local disk is written beside its place and renamed. What ``max_keep_ckpts`` and ``save_best``
    replace is removed after the new checkpoint is saved, so there must be room for one more. If ``last_checkpoint``
    names no whole file, it is set to the newest one before the training resumes.

    Example:
        In a config: ``default_hooks = dict(checkpoint=dict(type='mmcausal.CheckpointHook', max_keep_ckpts=1))``
    """

    file_backend: Any  # set by the host

    def before_run(self, runner: Runner) -> None:
        if runner.cfg.get('resume'):
            if is_main_process():
                repair_last_checkpoint(Path(runner.work_dir), self.filename_tmpl)
            barrier()

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if type(self.file_backend) is LocalBackend and self.file_client_args is None:
            self.backend_args = dict(backend=WHOLE_FILES)
            self.file_backend = get_file_backend(backend_args=self.backend_args)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: Dict[str, float]) -> None:
        if self.save_best:
            with self._removing_last():
                super()._save_best_checkpoint(runner, metrics)

    @contextlib.contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Put off removals in this context to its end, and leave them out after an error."""
        backend = RemovalsPutOff(self.file_backend)
        with temporarily(self, file_backend=backend):
            yield
        saved = [self.last_ckpt, *getattr(self, 'best_ckpt_path_dict', {}).values(),
                 getattr(self, 'best_ckpt_path', None)]
        for remove, path in backend.removals:
            if path not in saved:  # else the new checkpoint has the name of the old one
                remove(path)


def repair_last_checkpoint(work_dir: Path, filename_tmpl: str) -> None:
    """Set ``last_checkpoint`` to the newest whole checkpoint in a folder if it names none."""
    # The number may be padded, as in 'epoch_{:03d}.pth'. Published checkpoints have a hash after it.
    name = re.compile(re.sub(r'\\\{.*?\\\}', r'\\d+', re.escape(filename_tmpl)))
    checkpoints = [path for path in work_dir.iterdir() if name.fullmatch(path.name) and zipfile.is_zipfile(path)]
    if checkpoints and not is_whole(find_latest_checkpoint(str(work_dir))):
        newest = max(checkpoints, key=lambda path: path.stat().st_mtime_ns)
        write_bytes(work_dir / 'last_checkpoint', os.fsencode(newest))


def is_whole(checkpoint: Optional[str]) -> bool:
    """Return whether a checkpoint is a whole file, or one that only the host can look at."""
    if not checkpoint:
        return False
    return '://' in checkpoint or Path(checkpoint).is_dir() or zipfile.is_zipfile(checkpoint)
