"""One self-contained HTML page about one trained classifier; it opens from disk, without a network."""
import base64
import html
import io
import json
from pathlib import Path
from string import Template
from typing import Any, Collection, Dict, List, Sequence

import numpy as np

from mmcausal.visualization.features import class_means

TEMPLATE = Path(__file__).with_name('report.html')
CAPTIONS = {
    'class_accuracy': 'Accuracy of each class, most frequent first. With many classes, the lines average neighbours.',
    'alpha_sweep': 'Accuracy of the shot groups by alpha.',
    'feature_norms': 'Mean length of the feature, by class rank.',
    'weight_norms': 'Length of the classifier weight, by class rank.',
    'direction_cosines': 'Cosine of features and head direction, by shot group.',
    'decomposition': 'Features along the head direction and across it, one dot a class.',
    'confusion': 'Where the images of each shot group go.',
    'reliability': 'Accuracy by confidence, and expected calibration error, by shot group.',
    'grad_cam': 'Where the network looks for the class that it predicts (Grad-CAM). The first images of the two most '
                'frequent and the two rarest classes, under their true class.',
}


def class_columns(classifiers: Collection[str]) -> List[str]:
    """Headings of :func:`class_rows`, for the names of one or two classifiers."""
    gain = ['gain'] if len(classifiers) > 1 else []
    return ['class', 'shot', 'train images', 'test images', *classifiers, *gain]


def class_rows(names: Sequence[str], class_counts: np.ndarray, groups: Dict[str, np.ndarray], labels: np.ndarray,
               predictions: Dict[str, np.ndarray]) -> List[list]:
    """A row for each class: name, shot group, training and test images, accuracies in percent, difference of two.

    ``predictions``: the classes (N,) predicted for labels (N,), by total effect and, if at all, by TDE. An accuracy is
    None where there is no test image.
    """
    shots = {label: name for name, group in groups.items() for label in np.flatnonzero(group)}
    tested = np.bincount(labels, minlength=len(names))
    accuracies = [100 * class_means((predicted == labels).astype(float), labels, len(names))
                  for predicted in predictions.values()]
    rows = []
    for label, name in enumerate(names):
        values = [accuracy[label] for accuracy in accuracies]
        if len(values) > 1:
            values.append(values[-1] - values[0])
        percents = [None if np.isnan(value) else round(float(value), 2) for value in values]
        rows.append([str(name), shots[label], int(class_counts[label]), int(tested[label]), *percents])
    return rows


def shot_table(accuracies: Dict[str, Dict[str, float]]) -> str:
    """HTML table of the shot groups' accuracies, a row for each classifier."""
    groups = list(next(iter(accuracies.values())))
    head = ''.join(f'<th>{html.escape(group)}</th>' for group in groups)
    lines = []
    for name, values in accuracies.items():
        cells = ''.join(f'<td>{values[group]:.2f}</td>' for group in groups)
        lines.append(f'<tr><td>{html.escape(name)}</td>{cells}</tr>')
    return f'<table id="shots"><tr><th>top-1, %</th>{head}</tr>{"".join(lines)}</table>'


def picture(name: str, figure: Any) -> str:
    """HTML figure with the picture inside it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    caption = CAPTIONS[name]
    wide = ' class="wide"' if len(figure.axes) > 1 else ''
    data = base64.b64encode(buffer.getvalue()).decode()
    return (f'<figure{wide}><img alt="{caption}" src="data:image/png;base64,{data}">'
            f'<figcaption>{caption}</figcaption></figure>')


def report_page(title: str, summary: str, config_name: str, config: str, accuracies: Dict[str, Dict[str, float]],
                figures: Dict[str, Any], rows: List[list]) -> str:
    """The page.

    Args:
        title, summary: Plain text.
        config_name, config: Name and text of the config.
        accuracies: Of the shot groups, for each classifier, by its name in the table of classes too.
        figures: Matplotlib figures, by the names of ``CAPTIONS``.
        rows: What :func:`class_rows` returns.
    """
    ordered = [name for name in CAPTIONS if name in figures]
    groups = [group for group in ('many', 'medium', 'few') if any(row[1] == group for row in rows)]

    def embedded(value: Any) -> str:  # a name like </script> must not end the script
        return json.dumps(value).replace('<', '\\u003c')

    return Template(TEMPLATE.read_text(encoding='utf-8')).substitute(
        title=html.escape(title),
        summary=html.escape(summary),
        shots=shot_table(accuracies),
        pictures='\n'.join(picture(name, figures[name]) for name in ordered),
        options=''.join(f'<option>{group}</option>' for group in groups),
        config_name=html.escape(config_name),
        config=html.escape(config),
        columns=embedded(class_columns(accuracies)),
        rows=embedded(rows))
