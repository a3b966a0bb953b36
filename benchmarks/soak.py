"""Train, validate, save and resume for hours in one process, and measure whether memory or open descriptors grow.

Each round builds a Runner, resumes from the last checkpoint and trains for some more epochs, so whatever a Runner
leaves behind adds up. MMEngine itself keeps the logger of each Runner, with an open file, its message hub and its
visualizer until the process ends; these are dropped after each round. The slopes are fitted to the medians of each
round, after a warm-up: batches on their way between processes raise single samples. Memory is that of the process and
its workers without files: pages of libraries are shared with whatever else runs. Linux only.
"""
import argparse
import gc
import json
import time
from pathlib import Path
from threading import Event, Thread
from typing import Dict, List, Sequence, Tuple

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text

COLUMNS = ('minutes', 'own_mb', 'total_mb', 'descriptors')
Sample = Tuple[float, float, float, float]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path)
    parser.add_argument('--minutes', type=float, default=120)
    parser.add_argument('--epochs', type=int, default=2, help='epochs of a round')
    parser.add_argument('--batches', type=int, default=8, help='batches of an epoch, and of a validation')
    parser.add_argument('--warm-up', type=float, default=0.1, help='share of the rounds that the slopes leave out')
    parser.add_argument('--seconds', type=float, default=1, help='time between two samples')
    parser.add_argument('--work-dir', type=Path, required=True, help='a new folder')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results, written after each round')
    add_overwrite_argument(parser)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to the config')
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


class Sampler(Thread):
    """Samples memory and open descriptors in the background."""

    def __init__(self, seconds: float) -> None:
        super().__init__(daemon=True)
        self.seconds, self.start_time = seconds, time.time()
        self.samples: List[Sample] = []
        self.stopped = Event()

    def run(self) -> None:
        while not self.stopped.wait(self.seconds):
            self.samples.append(self.sample())

    def sample(self) -> Sample:
        """Return minutes, memory of this process, of it and its workers without counting shared pages twice, files."""
        own = Path('/proc/self')
        children = [pid for task in own.glob('task/*/children') for pid in task.read_text(encoding='utf-8').split()]
        total = sum(megabytes(process, 'Pss_Anon') for process in [own, *(Path('/proc') / pid for pid in children)])
        return ((time.time() - self.start_time) / 60, megabytes(own, 'Anonymous'), total, len(list(own.glob('fd/*'))))


def megabytes(process: Path, field: str) -> float:
    """Return a size of ``smaps_rollup``, and 0 for a process that has ended."""
    try:
        lines = (process / 'smaps_rollup').read_text(encoding='utf-8').splitlines()
    except OSError:
        return 0.
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f'{field}:')), 0.)


class StepCounter(Hook):
    """Count iterations over all rounds; a round that does not resume would repeat those of earlier rounds."""

    def __init__(self) -> None:
        self.steps = 0

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        self.steps += 1


def train_round(args: argparse.Namespace, max_epochs: int, counter: StepCounter) -> None:
    """Resume, train up to ``max_epochs`` with a validation and a checkpoint after each epoch, and drop the Runner."""
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.num_batch_per_epoch = args.batches
    cfg.train_cfg.update(max_epochs=max_epochs, val_interval=1)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.update(work_dir=str(args.work_dir), experiment_name='soak', resume=True, test_dataloader=None, test_cfg=None,
               test_evaluator=None)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(counter)
    runner.train()
    if runner.iter != counter.steps:
        raise RuntimeError(f'Iterations after a resume must be {counter.steps}, but got {runner.iter}')
    drop_instances(runner)
    del runner
    gc.collect()  # a Runner is full of cycles, which would otherwise be freed at some later moment


def drop_instances(runner: Runner) -> None:
    """Close the log file of a Runner, and drop the instances that MMEngine keeps by the name of the experiment."""
    for handler in runner.logger.handlers:
        handler.close()
    for kept in (runner.logger, runner.message_hub, runner.visualizer):
        type(kept)._instance_dict.clear()


def medians(samples: Sequence[Sample]) -> Sample:
    """Return the time of the last sample and the medians of the values of a round."""
    minutes, own, total, descriptors = zip(*samples)
    return minutes[-1], float(np.median(own)), float(np.median(total)), float(np.median(descriptors))


def slopes(rounds: Sequence[Sample], warm_up: float) -> Dict[str, Dict[str, float]]:
    """Return slope per hour, standard error and mean of the medians of each round."""
    values = np.array(rounds)[int(len(rounds) * warm_up):]
    hours = values[:, 0] / 60 - values[:, 0].mean() / 60
    result = {}
    for name, column in zip(COLUMNS[1:], values.T[1:]):
        slope = (hours @ column) / (hours @ hours)
        residuals = column - column.mean() - slope * hours
        error = np.sqrt((residuals @ residuals) / (len(hours) - 2) / (hours @ hours))
        result[name] = dict(per_hour=round(slope, 4), standard_error=round(error, 4), mean=round(column.mean(), 1))
    return result


def rounded(samples: Sequence[Sample], most: int = 240) -> List[List[float]]:
    """Return at most about ``most`` samples, evenly spaced."""
    return [[round(value, 2) for value in sample] for sample in samples[::-(-len(samples) // most)]]


def main() -> None:
    args = parse_args()
    args.work_dir.mkdir(parents=True)
    source, counter, sampler = provenance(), StepCounter(), Sampler(args.seconds)
    rounds: List[Sample] = []
    sampler.start()
    while not rounds or rounds[-1][0] < args.minutes:
        first = len(sampler.samples)
        train_round(args, (len(rounds) + 1) * args.epochs, counter)
        sampler.samples.append(sampler.sample())
        rounds.append(medians(sampler.samples[first:]))
        print('soak: round {}, {:.1f} minutes, {:.0f} MB, with workers {:.0f} MB, {:.0f} descriptors'.format(
            len(rounds), *rounds[-1]), flush=True)
        result = dict(source, rounds=len(rounds), steps=counter.steps, columns=COLUMNS,
                      slopes=slopes(rounds, args.warm_up) if len(rounds) > 3 else None,
                      medians_of_rounds=rounded(rounds), samples=rounded(sampler.samples))
        write_text(args.out, json.dumps(result))
    sampler.stopped.set()
    print('soak:', json.dumps(result['slopes'], indent=1))


if __name__ == '__main__':
    main()
