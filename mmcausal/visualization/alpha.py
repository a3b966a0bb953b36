"""Accuracy against alpha (Figure 4 of the paper)."""
from typing import Any, Dict, Sequence

from mmcausal.visualization.style import LINE_COLORS, SHOT_COLORS


def draw_alpha_sweep(axes: Any, points: Sequence[Dict[str, Any]], marks: Dict[str, float]) -> None:
    """Curves of the shot groups' accuracy.

    Args:
        axes: Matplotlib axes.
        points: What :func:`mmcausal.evaluation.sweep_alpha` returns.
        marks: Values of alpha to mark, by name.
    """
    alphas = [point['alpha'] for point in points]
    for group, color in SHOT_COLORS.items():
        if group in points[0]:
            axes.plot(alphas, [point[group] for point in points], color=color, label=group,
                      linewidth=2.2 if group == 'overall' else 1.4)
    for (name, alpha), color, style in zip(marks.items(), LINE_COLORS[3:] + LINE_COLORS, (':', '--', '-.')):
        axes.axvline(alpha, color=color, linestyle=style, label=f'{name}: {alpha:.2f}')
    axes.set(xlabel='alpha (0: total effect)', ylabel='accuracy (%)')
    axes.legend(fontsize=6)
