"""Accuracy against alpha (Figure 4 of the paper)."""
import itertools
from typing import TYPE_CHECKING, Dict, List, Mapping, Sequence

from mmcausal.analysis.sweeps import NO_ACCURACIES, Point
from mmcausal.visualization.style import MARK_COLOR, MARK_STYLES, SHOT_COLORS, colors_of, legend_above

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


def draw_alpha_sweep(axes: 'Axes', points: Sequence[Point], marks: Dict[str, float]) -> None:
    """Draw the accuracy of each shot group over alpha, and ``marks``, values of alpha by name.

    ``points`` are the result of :func:`mmcausal.analysis.sweep_alpha`.
    """
    measured = [name for name in points[0] if name not in NO_ACCURACIES]
    groups = [name for name in SHOT_COLORS if name in measured] + [n for n in measured if n not in SHOT_COLORS]
    draw_over_alpha(axes, points, dict(zip(groups, groups)), marks)
    axes.set_ylabel('accuracy (%)')


def draw_over_alpha(axes: 'Axes', points: Sequence[Point], meanings: Mapping[str, str],
                    marks: Mapping[str, float]) -> None:
    """Draw metrics over alpha.

    Args:
        axes: Axes to draw on.
        points: Metrics for each alpha, by name.
        meanings: Shot group of each metric to draw, for its colour.
        marks: Values of alpha to mark, by name.
    """
    colors = colors_of(meanings.values(), SHOT_COLORS)
    handles: Dict[str, 'Artist'] = {}
    alphas: List = [point['alpha'] for point in points]
    for name, group in meanings.items():
        handles[name], = axes.plot(alphas, [point[name] for point in points], color=colors[group],
                                   linewidth=2.2 if group == 'overall' else 1.4)
    for (name, alpha), style in zip(marks.items(), itertools.cycle(MARK_STYLES)):
        handles[f'{name}: {alpha:.2f}'] = axes.axvline(alpha, color=MARK_COLOR, linestyle=style, linewidth=1.2)
    axes.set_xlabel('alpha (0: total effect)')
    legend_above(axes, handles)
