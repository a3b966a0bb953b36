"""Show the whole idea in a minute: long-tailed digits, a linear baseline, a de-confounded classifier and its TDE.

Trains ``configs/digits_lt/{linear,deconfound}_small_ir100.py`` for a few seeds, tests them three ways, prints a table
and plots accuracy by class frequency and by alpha. Configs and MMEngine's Runner do the work, as in any real
experiment. A second run with the same --work-dir trains again and replaces the files of the first.
"""
import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any, Dict, List

warnings.filterwarnings('ignore')

import numpy as np  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from mmcausal.analysis import collect_features, sweep_alpha  # noqa: E402
from mmcausal.commands import integer_argument, plain_errors  # noqa: E402
from mmcausal.encoding import use_utf8  # noqa: E402
from mmcausal.evaluation import ShotAccuracy  # noqa: E402
from mmcausal.files import write_text  # noqa: E402
from mmcausal.visualization import draw_alpha_sweep, paper_figure, save_figure  # noqa: E402
from mmcausal.visualization.style import CLASSIFIER_COLORS, MARKERS, legend_above  # noqa: E402

CONFIGS = Path(__file__).resolve().parent.parent / 'configs' / 'digits_lt'
GROUPS = ('many', 'medium', 'few', 'overall')
ALPHAS = np.arange(0, 2.01, 0.1)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=integer_argument(0), nargs='+', default=[0, 1, 2, 3, 4],
                        help='at least one; default 0 to 4')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'))
    return parser.parse_args()


def build_runner(name: str, seed: int, work_dir: Path, **changes: Any) -> Runner:
    """Build a quiet Runner of configs/digits_lt/{name}_small_ir100.py; the seed draws images and weights."""
    cfg = Config.fromfile(str(CONFIGS / f'{name}_small_ir100.py'))
    cfg.merge_from_dict(dict(changes, **{'train_dataloader.dataset.seed': seed, 'randomness.seed': seed}))
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{name}_{seed}_{time.time_ns()}'
    cfg.log_level = 'WARNING'
    return Runner.from_cfg(cfg)


def run_seed(seed: int, work_dir: Path) -> Dict[str, Any]:
    """Train both classifiers with one seed, test three ways, and sweep alpha on the test images."""
    checkpoints, result = {}, {}
    for name in ('linear', 'deconfound'):
        start = time.time()
        runner = build_runner(name, seed, work_dir / f'{name}_{seed}')
        runner.train()
        checkpoints[name] = str(work_dir / f'{name}_{seed}' / 'epoch_60.pth')
        print(f'  seed {seed}: trained {name} ({time.time() - start:.0f} s)', flush=True)
    for name in ('linear', 'deconfound', 'deconfound-tde'):
        runner = build_runner(name, seed, work_dir / f'test_{seed}', load_from=checkpoints[name.split('-')[0]])
        metrics = runner.test()
        result[name] = {key.split('/')[-1]: value for key, value in metrics.items()}
    layer = runner.model.head.fc
    features, labels = collect_features(runner.model, layer, runner.test_dataloader)
    metric = ShotAccuracy(many=30, few=5, class_counts=runner.test_dataloader.dataset.metainfo['class_counts'])
    result['sweep'] = sweep_alpha(layer, features, labels, ALPHAS, metric)
    result['alpha'] = layer.alpha
    result['auto_alpha'] = 1 / float(layer.mean_cosine)
    return result


def print_table(results: List[Dict[str, Any]]) -> None:
    print(f'\nTop-1 accuracy in percent, mean ± standard deviation over {len(results)} seeds')
    print(f'{"":<16}' + ''.join(f'{group:>14}' for group in GROUPS))
    for name in ('linear', 'deconfound', 'deconfound-tde'):
        values = np.array([[result[name][group] for group in GROUPS] for result in results])
        cells = zip(values.mean(0), values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(GROUPS)))
        print(f'{name:<16}' + ''.join(f'{mean:>8.1f} ± {std:<3.1f}' for mean, std in cells))


def draw(results: List[Dict[str, Any]], class_counts: List[int], path: Path) -> None:
    figure, (by_class, by_alpha) = paper_figure(columns=2)
    meanings = {'linear': 'linear', 'deconfound': 'total effect', 'deconfound-tde': 'TDE'}
    handles = {}
    for index, (name, meaning) in enumerate(meanings.items()):
        color = CLASSIFIER_COLORS[meaning]
        classwise = np.array([result[name]['classwise'] for result in results])
        x = np.arange(10) + 0.22 * (index - 1)
        by_class.vlines(x, classwise.min(0), classwise.max(0), color=color, linewidth=2, alpha=0.4)
        handles[name], = by_class.plot(x, classwise.mean(0), MARKERS[index], color=color, markersize=4)
    by_class.set_xticks(range(10), [f'{label}\n({count})' for label, count in enumerate(class_counts)])
    by_class.set(xlabel='class (training images)', ylabel='accuracy (%), mean and range of seeds', ylim=(-3, 103))
    legend_above(by_class, handles)

    points = [{key: np.mean([point[key] for point in same]) for key in (*GROUPS, 'alpha')}
              for same in zip(*(result['sweep'] for result in results))]
    marks = {'config': results[0]['alpha'], 'auto': np.mean([result['auto_alpha'] for result in results])}
    draw_alpha_sweep(by_alpha, points, marks)
    by_alpha.set(xlabel='alpha of TDE (0: de-confound)', ylim=(0, 103))
    save_figure(figure, path, dpi=150)


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    print(f'Training 2 classifiers on long-tailed digits for each of {len(args.seeds)} seeds', flush=True)
    results = [run_seed(seed, args.work_dir) for seed in args.seeds]
    print_table(results)
    numbers = json.dumps(dict(zip(map(str, args.seeds), results)), indent=1)
    write_text(args.work_dir / 'quickstart.json', numbers)
    class_counts = build_runner('linear', 0, args.work_dir / 'plot').test_dataloader.dataset.metainfo['class_counts']
    draw(results, class_counts, args.work_dir / 'quickstart.png')
    print(f"\nNumbers: {args.work_dir / 'quickstart.json'}\nPlot: {args.work_dir / 'quickstart.png'}")


if __name__ == '__main__':
    main()
