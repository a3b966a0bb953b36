"""Kill processes at once (signal 9) while they store features, proposals, directions and checkpoints.

Half of the kills come at a random moment, the other half at a moment when a file is being written. After each kill,
checks that everything which had been finished is kept and whole, starts the same work again without a kill, and
compares its result, bit by bit, with that of a run that was never disturbed. The trainings draw from generators that
are seeded at the start of each epoch.
"""
import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import torch
from kill_subjects import DONE, SUBJECTS, Subject, train_linear

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.datasets.shapes import make_shapes_dataset
from mmcausal.files import write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20, help='number of kills of each subject')
    parser.add_argument('--subjects', choices=list(SUBJECTS), nargs='+', default=list(SUBJECTS))
    parser.add_argument('--seed', type=int, default=0, help='seed that draws the moments')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/kills'), help='a new folder')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    if args.work_dir.exists():
        parser.error(f'{args.work_dir} exists; choose a new folder')
    return args


def start(work: Callable[[Path], None], folder: Path) -> int:
    """Do some work in a process of its own, a copy of this one, and return its id."""
    DONE.value = 0
    pid = os.fork()
    if pid:
        return pid
    log = os.open(folder / 'log', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    status = 1
    try:
        work(folder)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def finish(work: Callable[[Path], None], folder: Path) -> None:
    """Do some work to its end."""
    status = os.waitpid(start(work, folder), 0)[1]
    if status:
        sys.exit(f'stopped with status {status}, see {folder / "log"}')


def half_files(folder: Path) -> List[Path]:
    return list(folder.rglob('.*.partial'))


def kill(pid: int, folder: Path, after: float, while_writing: bool) -> bool:
    """Kill a process after some seconds, or at its next write after that; return whether it was still running."""
    time.sleep(after)
    ended = 0
    while while_writing and not ended and not half_files(folder):
        time.sleep(1e-4)
        ended = os.waitpid(pid, os.WNOHANG)[0]
    if ended:
        return False
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def equal(tensors: List[torch.Tensor], others: List[torch.Tensor]) -> bool:
    return len(tensors) == len(others) and all(map(torch.equal, tensors, others))


def trials(subject: Subject, number: int, folder: Path, draw: random.Random) -> Iterator[Dict[str, int]]:
    """Yield what each kill found: units finished, kept and lost, and files that were half written."""
    whole = folder / 'undisturbed'
    whole.mkdir(parents=True)
    begin = time.time()
    finish(subject.work, whole)
    seconds, expected = time.time() - begin, subject.result(whole)
    trial = 0
    while trial < number:
        run = folder / 'killed'
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        if not kill(start(subject.work, run), run, draw.uniform(0, seconds), while_writing=trial % 2 == 1):
            continue  # it had ended before
        finished, half = DONE.value, len(half_files(run))
        kept = subject.kept(run)
        finish(subject.work, run)
        yield dict(finished=finished, kept=kept, lost=max(finished - kept, 0), half_written=half,
                   result_differs=int(not equal(subject.result(run), expected)))
        trial += 1


def main() -> None:
    args, source = parse_args(), provenance()  # files may change in the meantime
    torch.set_num_threads(1)  # a forked process may not share a pool of threads
    args.work_dir.mkdir(parents=True)
    folder = args.work_dir.resolve()
    make_shapes_dataset(folder / 'shapes', num_train=24, num_val=24, imbalance_ratio=2, image_size=160)
    (folder / 'linear').mkdir()
    finish(train_linear, folder / 'linear')
    rows = []
    for name in args.subjects:
        found = list(trials(SUBJECTS[name], args.kills, folder / name, random.Random(args.seed)))
        rows.append(dict(subject=name, kills=len(found), trials=found,
                         **{key: sum(trial[key] for trial in found) for key in ('lost', 'result_differs')},
                         while_writing=sum(trial['half_written'] > 0 for trial in found)))
        print({key: value for key, value in rows[-1].items() if key != 'trials'}, flush=True)
        write_text(args.out, json.dumps(dict(source, rows=rows), indent=1))


if __name__ == '__main__':
    main()
