"""Accuracy against alpha (Figure 4 of the paper)."""
from typing import TYPE_CHECKING, Dict, Sequence

from mmcausal.analysis.sweeps import Point
from mmcausal.visualization.style import LINE_COLORS, SHOT_COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_alpha_sweep(axes: 'Axes', points: Sequence[Point], marks: Dict[str, float]) -> None:
    """Draw the accuracy of each shot group over alpha, and ``marks``, values of alpha by name.

    ``points`` are the result of :func:`mmcausal.analysis.sweep_alpha`.
    """
    for group, color in SHOT_COLORS.items():
        if group in points[0]:
            axes.plot([point['alpha'] for point in points], [point[group] for point in points], color=color,
                      label=group, linewidth=2.2 if group == 'overall' else 1.4)
    for (name, alpha), color, style in zip(marks.items(), LINE_COLORS[3:] + LINE_COLORS, (':', '--', '-.', '-')):
        axes.axvline(alpha, color=color, linestyle=style, label=f'{name}: {alpha:.2f}')
    axes.set(xlabel='alpha (0: total effect)', ylabel='accuracy (%)')
    # Above the axes, where it covers no curve
    axes.legend(fontsize=6, ncol=3, columnspacing=1, handlelength=1.6, frameon=False, loc='lower center',
                bbox_to_anchor=(0.45, 1))
