"""Common style of all plots: one colour per meaning, names as people write them, legends outside the axes."""
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Collection, Dict, Mapping, Sequence, Tuple, Union

import numpy as np

from mmcausal.files import FilePath, write_bytes
from mmcausal.text import Name, shorten
from mmcausal.visualization.fonts import font_families

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# The colour-blind safe palette of Okabe and Ito, and a purple of Tol's. Each colour has one meaning in all plots.
SHOT_COLORS = dict(many='#0072B2', medium='#009E73', few='#D55E00', overall='#000000', prior='#8C6D31')
CLASSIFIER_COLORS = {'total effect': '#56B4E9', 'TDE': '#AA3377', 'linear': '#E69F00'}
COUNT_COLOR = '#d9d9d9'  # numbers of training images
MARK_COLOR = '#666666'  # values of alpha; their line styles differ
MARK_STYLES = (':', '--', '-.', (0, (6, 1)), (0, (1, 3)))
SPARE_COLORS = ('#332288', '#44AA99', '#999933', '#882255', '#88CCEE', '#DDCC77')  # for names of the user, after Tol
MARKERS = ('s', 'o', '^', 'D', 'v')
STYLE: dict = {'font.size': 8, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True,
               'grid.color': '#e6e6e6', 'axes.axisbelow': True}
COLUMN_WIDTH, HEIGHT = 3.5, 2.6  # inches


def colors_of(names: Collection[str], known: Mapping[str, str]) -> Dict[str, str]:
    """Return a colour for each name: its own if it is ``known``, else one that means nothing else."""
    spare = [name for name in names if name not in known]
    return {**{name: SPARE_COLORS[index % len(SPARE_COLORS)] for index, name in enumerate(spare)},
            **{name: known[name] for name in names if name in known}}


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


def as_written(*texts: Name) -> Dict[str, Any]:
    """Return Matplotlib's properties that show texts as they are: ``$`` is no formula, and a font has each character.

    A character that no installed font has becomes a box; a warning names fonts that help, once for each script.
    """
    return dict(parse_math=False, usetex=False, fontfamily=font_families(''.join(map(str, texts))))


def legend_above(axes: 'Axes', handles: Mapping[str, 'Artist']) -> 'Legend':
    """Draw a legend above the axes, where it covers no data; ``handles`` have the texts beside them."""
    texts = [shorten(text, 40) for text in handles]
    columns = 3 if max(map(len, texts), default=0) < 16 else 2
    legend = axes.legend(list(handles.values()), list(map(str, range(len(texts)))), fontsize=6, ncol=columns,
                         columnspacing=1, handlelength=1.6, frameon=False, loc='lower center',
                         bbox_to_anchor=(0.45, 1), borderaxespad=0.2)
    for text, drawn in zip(texts, legend.get_texts()):  # Matplotlib itself would leave out names like _hidden
        drawn.set(text=text, **as_written(text))
    return legend


def name_ticks(axes: 'Axes', names: Sequence[str]) -> None:
    """Write names (n,) below the positions 0 to n - 1, upright if they are short."""
    is_short = sum(map(len, names)) <= 40
    axes.set_xticks(range(len(names)), names, fontsize=8 if is_short else 7 if len(names) <= 20 else 6,
                    rotation=0 if is_short else 90, **as_written(*names))


def save_figure(figure: 'Figure', path: FilePath, **kwargs: Union[int, str]) -> None:
    """Write a figure as :func:`mmcausal.files.write_bytes` does, in the format of its suffix, else as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix[1:] or 'png', **kwargs)
    write_bytes(path, buffer.getvalue())


def to_image(figure: 'Figure') -> np.ndarray:
    """Return a figure as an RGB image (H, W, 3) of uint8, the format of MMEngine's ``Visualizer.add_image``."""
    from matplotlib.image import imread
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    buffer.seek(0)
    return (imread(buffer)[..., :3] * 255).round().astype(np.uint8)
