"""Common style of all plots."""
import io
from typing import TYPE_CHECKING, Iterable, List, Tuple, Union

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colour-blind safe palette of Okabe and Ito
SHOT_COLORS = dict(many='#0072B2', medium='#009E73', few='#D55E00', overall='#000000', prior='#CC79A7')
LINE_COLORS = ('#7f7f7f', '#56B4E9', '#D55E00', '#CC79A7', '#E69F00')
OTHER_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')  # of groups with names of the user
MARKERS = ('s', 'o', '^', 'D', 'v')
STYLE: dict = {'font.size': 8, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True,
               'grid.color': '#e6e6e6', 'axes.axisbelow': True}
# Common fonts for the scripts that Matplotlib's own font lacks, Chinese, Japanese and Korean
CJK_FONTS = ('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans SC', 'WenQuanYi Micro Hei', 'WenQuanYi Zen Hei',
             'Microsoft YaHei', 'SimHei', 'PingFang SC', 'Hiragino Sans GB', 'Malgun Gothic', 'Arial Unicode MS')
COLUMN_WIDTH, HEIGHT = 3.5, 2.6  # inches


def group_color(name: str, groups: Iterable[str]) -> str:
    """Return the colour of a group of classes: that of its shot group, or one by its place among ``groups``."""
    return SHOT_COLORS.get(name) or OTHER_COLORS[list(groups).index(name) % len(OTHER_COLORS)]


def font_families() -> List[str]:
    """Return the installed fonts for titles and labels; each character comes from the first that has it."""
    from matplotlib.font_manager import fontManager
    installed = {font.name for font in fontManager.ttflist}
    return ['DejaVu Sans', *(name for name in CJK_FONTS if name in installed)]


def paper_figure(columns: int = 1, rows: int = 1,
                 panel: Tuple[float, float] = (COLUMN_WIDTH, HEIGHT)) -> Tuple['Figure', Union['Axes', np.ndarray]]:
    """Return a figure without a window, and its axes: an array of them if there are several.

    Args:
        columns, rows: Number of panels in each direction.
        panel: Width and height of a panel in inches. By default as wide as a column of a paper.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    with rc_context({**STYLE, 'font.family': font_families()}):
        figure = Figure(figsize=(panel[0] * columns, panel[1] * rows), dpi=200, layout='constrained')
        return figure, figure.subplots(rows, columns)


def to_image(figure: 'Figure') -> np.ndarray:
    """Return a figure as an RGB image (H, W, 3) of uint8, the format of MMEngine's ``Visualizer.add_image``."""
    from matplotlib.image import imread
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    buffer.seek(0)
    return (imread(buffer)[..., :3] * 255).round().astype(np.uint8)
