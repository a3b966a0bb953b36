"""Compare functions in one process: warm-up, then one call of each in turn, medians of the ratios of neighbours.

Other work on the machine slows neighbours down alike, so ratios are steadier than times. Durations are those of CUDA
events where there is a GPU.
"""
import time
from typing import Callable, Dict, List

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

Functions = Dict[str, Callable[[], object]]


def seconds_of(function: Callable[[], object]) -> float:
    """Return how long one call takes."""
    if torch.cuda.is_available():
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def alternate(functions: Functions, rounds: int, warm_up: int = 2) -> Dict[str, List[float]]:
    """Return the seconds of each function in ``rounds`` rounds, after ``warm_up`` rounds that do not count."""
    seconds: Dict[str, List[float]] = {name: [] for name in functions}
    for index in range(warm_up + rounds):
        for name, function in functions.items():
            duration = seconds_of(function)
            if index >= warm_up:
                seconds[name].append(duration)
    return seconds


def ratios(seconds: Dict[str, List[float]], baseline: str) -> Dict[str, Dict[str, float]]:
    """Return for each function the median of its seconds, and median and quartiles of its ratio to the baseline."""
    base = np.array(seconds[baseline])
    results = {}
    for name, values in seconds.items():
        low, middle, high = np.percentile(np.array(values) / base, [25, 50, 75])
        results[name] = dict(milliseconds=1000 * float(np.median(values)), ratio=float(middle), ratio_low=float(low),
                             ratio_high=float(high))
    return {name: {key: round(value, 4) for key, value in result.items()} for name, result in results.items()}


def peak_bytes(function: Callable[[], object]) -> int:
    """Return the most bytes that tensors of one call hold at a time, beyond those that were there before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        function()
    held = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == '[memory]':
            held += event.nbytes()
            peak = max(peak, held)
    return peak
