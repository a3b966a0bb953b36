"""The look that all pictures share."""
import io
from typing import Any, Dict, Tuple

import numpy as np

# Okabe and Ito's colours, which the colour-blind tell apart
SHOT_COLORS: Dict[str, str] = dict(many='#0072B2', medium='#009E73', few='#D55E00', overall='#000000',
                                   prior='#CC79A7')
LINE_COLORS = ('#7f7f7f', '#56B4E9', '#D55E00', '#CC79A7', '#E69F00')
MARKERS = ('s', 'o', '^', 'D', 'v')
STYLE = {
    'font.size': 8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#e6e6e6',
    'axes.axisbelow': True,
}
COLUMN_WIDTH, HEIGHT = 3.5, 2.6  # inches


def paper_figure(columns: int = 1, rows: int = 1,
                 panel: Tuple[float, float] = (COLUMN_WIDTH, HEIGHT)) -> Tuple[Any, Any]:
    """A figure of panels, each as wide as a paper's column unless ``panel`` gives its size in inches, and its axes.

    It belongs to no window.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    with rc_context(STYLE):
        figure = Figure(figsize=(panel[0] * columns, panel[1] * rows), dpi=200, layout='constrained')
        return figure, figure.subplots(rows, columns)


def to_image(figure: Any) -> np.ndarray:
    """A figure as an RGB image (H, W, 3) of bytes, as MMEngine's ``Visualizer.add_image`` takes it."""
    from matplotlib.image import imread
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    buffer.seek(0)
    return (imread(buffer)[..., :3] * 255).round().astype(np.uint8)
