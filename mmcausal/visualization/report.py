"""Self-contained HTML report about one trained classifier, which opens from disk without a network."""
import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Collection, Dict, List, Sequence, Union

import numpy as np

from mmcausal.text import readable
from mmcausal.visualization.ranks import class_means
from mmcausal.visualization.style import COLUMN_WIDTH, SHOT_COLORS, colors_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name('report.html')
CAPTIONS = {
    'class_accuracy': 'Accuracy of each class, most frequent first; bars show 95 % intervals or, with many classes, '
                      'the mean over neighbours. Grey: training images.',
    'alpha_sweep': 'Accuracy of the shot groups over alpha.',
    'feature_norms': 'Mean length of the features of each class, most frequent first.',
    'weight_norms': 'Length of the classifier weights of each class, most frequent first.',
    'direction_cosines': 'Cosine of features and head direction, by shot group.',
    'decomposition': 'Features along the head direction and across it, one dot per class.',
    'confusion': 'Predictions for the images of each shot group: right, or a wrong class of each group.',
    'reliability': 'Accuracy over confidence, and expected calibration error, by shot group.',
    'grad_cam': 'Image regions behind the predicted class (Grad-CAM), for the first images of the two most frequent '
                'and the two rarest classes, with their true class.'}


def class_columns(classifiers: Collection[str]) -> List[str]:
    """Return the headings of :func:`class_rows`, for the names of one or two classifiers."""
    gain = ['gain'] if len(classifiers) > 1 else []
    return ['class', 'shot', 'train images', 'test images', *classifiers, *gain]


def class_rows(names: Sequence[str], class_counts: np.ndarray, groups: Dict[str, np.ndarray], labels: np.ndarray,
               predictions: Dict[str, np.ndarray]) -> List[list]:
    """Return a row per class: name, shot group, training and test images, accuracies in percent, their difference.

    ``predictions`` are the classes (N,) predicted for labels (N,) by total effect and, optionally, by TDE. Accuracies
    of classes without a test image are None.
    """
    shots = {label: name for name, group in groups.items() for label in np.flatnonzero(group).tolist()}
    tested = np.bincount(labels, minlength=len(names))
    accuracies = [100 * class_means((predicted == labels).astype(float), labels, len(names))
                  for predicted in predictions.values()]
    rows = []
    for label, name in enumerate(names):
        values = [accuracy[label] for accuracy in accuracies]
        if len(values) > 1:
            values.append(values[-1] - values[0])
        percents = [None if np.isnan(value) else round(float(value), 2) for value in values]
        rows.append([str(name), shots.get(label, '-'), int(class_counts[label]), int(tested[label]), *percents])
    return rows


def shot_table(accuracies: Dict[str, Dict[str, float]], sizes: Dict[str, str]) -> str:
    """Return an HTML table of the accuracy of each shot group, with a row per classifier and the groups' sizes."""
    groups = list(next(iter(accuracies.values())))
    head = ''.join(f'<th>{html.escape(group)}<br><small>{sizes[group]}</small></th>' for group in groups)
    lines = []
    for name, values in accuracies.items():
        cells = ''.join(f'<td>{values[group]:.2f}</td>' for group in groups)
        lines.append(f'<tr><th>{html.escape(name)}</th>{cells}</tr>')
    return f'<table id="shots"><tr><th>top-1, %</th>{head}</tr>{"".join(lines)}</table>'


def group_sizes(groups: Collection[str], rows: List[list]) -> Dict[str, str]:
    """Return HTML with the tested classes and images of each shot group, for the result of :func:`class_rows`.

    A name that is no group, such as ``overall``, gets the numbers of all classes.
    """
    own = {row[1] for row in rows}
    sizes = {}
    for group in groups:
        images = [row[3] for row in rows if row[3] and (row[1] == group or group not in own)]
        sizes[group] = f'{len(images)} classes<br>{sum(images)} images'
    return sizes


def picture(name: str, figure: 'Figure') -> str:
    """Return an HTML figure with the plot and its caption embedded."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    caption = CAPTIONS[name]
    wide = ' class="wide"' if figure.get_figwidth() > COLUMN_WIDTH else ''
    data = base64.b64encode(buffer.getvalue()).decode()
    return (f'<figure{wide}><div class="scroll"><img alt="{caption}" src="data:image/png;base64,{data}"></div>'
            f'<figcaption>{caption}</figcaption></figure>')


def report_page(title: str, summary: str, config_name: str, config: str, accuracies: Dict[str, Dict[str, float]],
                figures: Dict[str, 'Figure'], rows: List[list]) -> str:
    """Return the HTML page.

    Args:
        title, summary: Plain text.
        config_name, config: Name and text of the config.
        accuracies: Accuracy of each shot group by classifier; its names are also headings of the table of classes.
        figures: Matplotlib figures by the names in ``CAPTIONS``.
        rows: Result of :func:`class_rows`.
    """
    ordered = [name for name in CAPTIONS if name in figures]
    reported = next(iter(accuracies.values()))
    found = list(dict.fromkeys(row[1] for row in rows))  # in the order of the classes
    groups = [group for group in SHOT_COLORS if group in found] + [name for name in found if name not in SHOT_COLORS]

    def embedded(value: Union[list, dict]) -> str:  # a name like </script> must not end the script
        return json.dumps(value).replace('<', '\\u003c')

    before, script, after = re.split('(?<=<script>)|(?=</script>)', TEMPLATE.read_text(encoding='utf-8'))
    script = Template(script).substitute(
        columns=embedded(class_columns(accuracies)),
        colors=embedded(colors_of(groups, SHOT_COLORS)),
        rows=embedded(rows))
    before = Template(before).substitute(
        policy=security_policy(before, script),
        title=html.escape(title), summary=html.escape(summary),
        shots=shot_table(accuracies, group_sizes(reported, rows)),
        pictures='\n'.join(picture(name, figures[name]) for name in ordered),
        options=''.join(f'<option>{html.escape(group)}</option>' for group in groups),
        config_name=html.escape(config_name), config=html.escape(config))
    return readable(before + script + after)


def security_policy(head: str, script: str) -> str:
    """Return a policy by which a browser runs this script and style alone, shows embedded images and loads nothing."""
    style, = re.findall('<style>(.*?)</style>', head, re.DOTALL)
    style_hash, script_hash = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
                               for text in (style, script))
    return (f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
            "base-uri 'none'; form-action 'none'")
