"""Provenance of a result: command, commit, machine kind and release of PyTorch."""
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Dict

import torch

from mmcausal.text import readable

ROOT = Path(__file__).resolve().parents[2]


def provenance() -> Dict[str, str]:
    """Return command, commit, machine kind and release of PyTorch of this process, for the JSON of a result."""
    command = shlex.join(['python', *(word.replace(f'{ROOT}{os.sep}', '') for word in sys.argv)])
    return dict(command=readable(command), commit=commit(), machine=machine(), torch=torch.__version__)


def commit() -> str:
    """Return the commit of the clone, with ``-dirty`` if tracked files differ from it."""
    git = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty', '--exclude=*']
    try:
        return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown: not run from a clone'


def machine() -> str:
    """Return the kind of machine, e.g. ``2-core x86_64 CPU with AVX512``, and its GPU if it has one."""
    cpu = f'{os.cpu_count()}-core {platform.machine()} CPU with {torch.backends.cpu.get_cpu_capability()}'
    return f'{torch.cuda.get_device_name()}, {cpu}' if torch.cuda.is_available() else cpu
