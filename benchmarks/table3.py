"""Print Table 3 of the paper from the result files of our trainings: the twelve cells, and each training by itself.

Every number of the two tables in docs/results.md comes from here. Spreads are sample standard deviations over seeds.
"""
import json
import re
from pathlib import Path
from statistics import mean, stdev
from typing import Dict, List, NamedTuple, Tuple

from mmcausal.encoding import use_utf8

RESULTS = Path(__file__).resolve().parent.parent / 'docs' / 'results'
COLUMNS = [(classes, ratio) for ratio in (100, 50, 10) for classes in (100, 10)]  # CIFAR-100 and CIFAR-10
METHODS = {'deconfound': 'de-confound', 'deconfound-tde': 'de-confound-TDE'}
# Files of benchmarks/choose_corrections.py, by classes and imbalance ratio
HELD_OUT = {(100, 100): 'choose_corrections_deconfound.json', (10, 100): 'choose_corrections_deconfound_cifar10.json',
            (100, 50): 'choose_corrections_deconfound_ir50.json',
            (10, 50): 'choose_corrections_deconfound_cifar10_ir50.json',
            # Ratio 12, because no image of the rarest class is left with ratio 10
            (100, 10): 'choose_corrections_deconfound_ir12.json',
            (10, 10): 'choose_corrections_deconfound_cifar10_ir12.json'}


class Training(NamedTuple):
    """One training: accuracies in percent, and accuracy by alpha on the test images."""
    name: str
    seed: int
    accuracy: Dict[str, float]
    published: Dict[str, float]
    curve: Dict[float, float]
    auto: Tuple[float, float]
    entropy_alpha: float


def read(name: str) -> dict:
    """Return the content of a result file."""
    return json.loads((RESULTS / name).read_text(encoding='utf-8'))


def nearest(curve: Dict[float, float], alpha: float) -> Tuple[float, float]:
    """Return the point of a curve, alpha and accuracy, that is nearest to ``alpha``."""
    return min(curve.items(), key=lambda point: abs(point[0] - alpha))


def read_training(path: Path) -> Training:
    """Read a training and its curve, which is in a file of its own if the weights are published."""
    content = read(path.name)
    rows = {row['config'].split('/')[1].split('_')[0]: row for row in content['rows']}
    if 'alpha_curve' in content:
        sweep = content['alpha_curve']
        points, tested, entropy_alpha = sweep['points'], sweep.get('auto_tested'), sweep['largest_entropy_alpha']
        auto_accuracy = tested and tested['overall']
    else:
        sweep = read('cifar_ir100_alpha.json')[rows['deconfound']['config'].split('/')[0]]
        points, entropy_alpha = sweep['alpha'], sweep['largest_entropy']
        auto_accuracy = sweep['tested_with_auto']['shot/overall']
    curve = {point['alpha']: point['overall'] for point in points}
    auto = (sweep['auto_alpha'], auto_accuracy) if auto_accuracy else nearest(curve, sweep['auto_alpha'])
    return Training(path.stem, content['seeds'][0], {name: rows[name]['results'][0]['overall'] for name in METHODS},
                    {name: rows[name]['published'] for name in METHODS}, curve, auto, entropy_alpha)


def trainings() -> Dict[Tuple[int, int], List[Training]]:
    """Return the trainings by classes and imbalance ratio, in the order of the seeds."""
    found: Dict[Tuple[int, int], List[Training]] = {}
    for path in RESULTS.glob('c*_ir*_s*.json'):
        match = re.fullmatch(r'c(\d+)_ir(\d+)_s\d+', path.stem)
        if match:
            found.setdefault((int(match.group(1)), int(match.group(2))), []).append(read_training(path))
    return {column: sorted(group, key=lambda training: training.seed) for column, group in found.items()}


def cells(found: Dict[Tuple[int, int], List[Training]]) -> str:
    """Return the table of the twelve cells: paper, ours, difference."""
    lines = ['| data | classifier | paper | ours | seeds | difference |', '|---|---|---|---|---|---|']
    for classes, ratio in COLUMNS:
        group = found[classes, ratio]
        for name, label in METHODS.items():
            values, paper = [training.accuracy[name] for training in group], group[0].published[name]
            spread = f' ± {stdev(values):.1f}' if len(values) > 1 else ''
            lines.append(f'| CIFAR-{classes}, IR {ratio} | {label} | {paper:.1f} | {mean(values):.1f}{spread} | '
                         f'{", ".join(str(training.seed) for training in group)} | '
                         f'{round(mean(values) - paper, 1) + 0:+.1f} |')  # + 0, or -0.0 would be printed
    return '\n'.join(lines)


def alphas(found: Dict[Tuple[int, int], List[Training]]) -> str:
    """Return the table of the trainings with the ways to an alpha."""
    lines = ["| data | seed | no TDE | paper's alpha | `'auto'` | largest entropy | held-out |",
             '|---|---|---|---|---|---|---|']
    for column in COLUMNS:
        chosen = next(row['chosen']['alpha'] for row in read(HELD_OUT[column])['rows']
                      if row['method'] == 'TDE' and row['prior'] == 'balanced')
        for training in found[column]:
            lines.append(
                f'| CIFAR-{column[0]}, IR {column[1]} | [{training.seed}](results/{training.name}.json) | '
                f'{training.accuracy["deconfound"]:.1f} | {training.accuracy["deconfound-tde"]:.1f} | '
                f'{training.auto[1]:.1f} ({training.auto[0]:.2f}) | '
                f'{training.curve[training.entropy_alpha]:.1f} ({training.entropy_alpha:.1f}) | '
                f'{training.curve[chosen]:.1f} ({chosen:.1f}) |')
    return '\n'.join(lines)


if __name__ == '__main__':
    use_utf8()
    found = trainings()
    print(f'{cells(found)}\n\n{alphas(found)}')
