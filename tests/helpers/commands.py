"""Commands of the repository in processes of their own, and the paths that they need."""
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
# Relative to ROOT, as a user gives them
DIGITS = 'configs/digits_lt/deconfound-tde_small_ir100.py'
BASELINE = 'configs/digits_lt/linear_small_ir100.py'
IMAGENET_LT = 'configs/imagenet_lt/deconfound-tde_r10_90e.py'


def run(*command, status=0, **environment):
    """Return the output of a command run from the repository's root with this interpreter first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    # Seconds of work: two processes of several threads would only wait for each other.
    environment = dict(os.environ, PATH=path, OMP_NUM_THREADS='1', **environment)
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == status, done.stdout[-3000:]
    return done.stdout


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


def metrics(path):
    return {key: value for key, value in json.loads(path.read_text()).items() if isinstance(value, float)}
