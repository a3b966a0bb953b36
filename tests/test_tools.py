"""The tools as a user runs them, in processes of their own."""
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmcausal.analysis import features_folder

ROOT = Path(__file__).parent.parent
DIGITS = 'configs/digits_lt/deconfound-tde_small_ir100.py'
BASELINE = 'configs/digits_lt/linear_small_ir100.py'


def run(*command, status=0, **environment):
    """Output of a command run from the repository's root with this interpreter first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    # Seconds of work: two processes of several threads would only wait for each other.
    environment = dict(os.environ, PATH=path, OMP_NUM_THREADS='1', **environment)
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == status, done.stdout[-3000:]
    return done.stdout


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


def metrics(path):
    return {key: value for key, value in json.loads(path.read_text()).items() if isinstance(value, float)}


@pytest.fixture(scope='module')
def linear_checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('linear')
    run('mim', 'train', 'mmpretrain', BASELINE, '--work-dir', folder, '--cfg-options', 'train_cfg.max_epochs=2')
    return folder / 'epoch_2.pth'


@pytest.fixture(scope='module')
def two_rank_checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    output = run('bash', 'tools/dist_train.sh', DIGITS, '2', '--work-dir', folder, '--cfg-options',
                 'train_cfg.max_epochs=2', PORT=free_port())
    assert 'Mean cosine of features and head direction' in output
    return folder / 'epoch_2.pth'


def test_two_ranks_test_as_one(two_rank_checkpoint, tmp_path):
    state = torch.load(two_rank_checkpoint, map_location='cpu', weights_only=False)['state_dict']
    assert state['head.fc.num_updates'] == 8 and state['head.fc.mean_feature'].any()

    run('bash', 'tools/dist_test.sh', DIGITS, two_rank_checkpoint, '2', '--out', tmp_path / 'two.json', '--out-item',
        'metrics', PORT=free_port())
    run('mim', 'test', 'mmpretrain', DIGITS, '--checkpoint', two_rank_checkpoint, '--out', tmp_path / 'one.json',
        '--out-item', 'metrics')
    assert metrics(tmp_path / 'two.json') == metrics(tmp_path / 'one.json') != {}


def test_report_of_a_work_directory(two_rank_checkpoint, tmp_path):
    tool = [sys.executable, 'tools/analysis/report.py', two_rank_checkpoint.parent, '--features', tmp_path / 'store']
    output = run(*tool, '--split', 'test', '--alpha', '0.5', '--out', tmp_path / 'report.html')
    assert f'Report: {tmp_path}/report.html' in output
    page = (tmp_path / 'report.html').read_text()
    assert page.count('src="data:image/png') == 9 and 'TDE, alpha 0.5' in page and 'few' in page
    assert '"train images", "test images", "total effect", "TDE, alpha 0.5", "gain"]' in page
    assert 'must hold the config of one training' in run(*tool[:2], tmp_path, status=1)


def test_report_without_a_direction(linear_checkpoint, tmp_path):
    output = run(sys.executable, 'tools/analysis/report.py', linear_checkpoint.parent, '--features', tmp_path / 'store',
                 '--config', BASELINE, '--checkpoint', linear_checkpoint, '--out', tmp_path / 'report.html')
    assert 'no head direction' in output
    page = (tmp_path / 'report.html').read_text()
    assert '"train images", "test images", "total effect"]' in page and 'by alpha' not in page


def test_direction_and_tde_for_a_linear_checkpoint(linear_checkpoint, tmp_path):
    with_direction = tmp_path / 'with_direction.pth'
    run(sys.executable, 'tools/analysis/estimate_direction.py', BASELINE, linear_checkpoint, with_direction)
    state = torch.load(with_direction, map_location='cpu', weights_only=False)['state_dict']
    assert state['head.fc.mean_feature'].any()
    moving = tmp_path / 'moving.pth'
    run(sys.executable, 'tools/analysis/estimate_direction.py', BASELINE, linear_checkpoint, moving, '--momentum',
        '0.9')
    average = torch.load(moving, map_location='cpu', weights_only=False)['state_dict']
    assert average['head.fc.num_updates'] == 8 and state['head.fc.num_updates'] == 1
    assert torch.cosine_similarity(average['head.fc.mean_feature'], state['head.fc.mean_feature'], dim=0) > 0.95

    def tested(alpha):
        out = tmp_path / f'{alpha}.json'
        run(sys.executable, 'tools/test.py', BASELINE, with_direction, '--tta', '--out', out, '--out-item', 'metrics',
            '--cfg-options', 'model.type=mmcausal.TDEClassifierTTA', f'model.alpha={alpha}')
        return metrics(out)

    factual = tmp_path / 'factual.json'
    run(sys.executable, 'tools/test.py', BASELINE, linear_checkpoint, '--out', factual, '--out-item', 'metrics')
    assert tested(0) == metrics(factual)
    half = tested(0.5)
    assert half != metrics(factual)

    # A sweep equals the single tests, refuses test images without consent, and its features serve the pictures too.
    features = ['--features', tmp_path / 'store', '--split', 'test']
    sweep = [sys.executable, 'tools/analysis/sweep_alpha.py', BASELINE, with_direction, *features, '--alphas', '0',
             '0.5', '--out', tmp_path / 'sweep.json']
    assert 'no longer a result on them' in run(*sweep, status=1) and not (tmp_path / 'store').exists()
    assert 'best in overall on the test split' in run(*sweep, '--i-know-this-is-test')
    points = json.loads((tmp_path / 'sweep.json').read_text())['sweeps']['linear']
    for point, single in zip(points, (metrics(factual), half)):
        assert {f'shot/{group}': point[group] for group in ('many', 'medium', 'few', 'overall')} == {
            key: value for key, value in single.items() if key.startswith('shot/')}
    chosen = json.loads((tmp_path / 'sweep.json').read_text())['chosen']['linear']
    assert chosen['best'] == max(points, key=lambda point: point['overall'])['alpha']
    assert chosen['largest_entropy'] == max(points, key=lambda point: point['entropy'])['alpha']
    assert (tmp_path / 'sweep_linear.png').stat().st_size > 10000
    pictures = [*features, '--out-dir', tmp_path / 'pictures']
    output = run(sys.executable, 'tools/analysis/pictures.py', BASELINE, with_direction, *pictures)
    stock = run(sys.executable, 'tools/analysis/pictures.py', BASELINE, linear_checkpoint, '--out-dir',
                tmp_path / 'stock', '--features', tmp_path / 'stock_store')
    assert 'no head direction' in stock and len(list((tmp_path / 'stock').glob('*.png'))) == 6
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 8 and 'Features of' not in output
    # What is wrong is told in a sentence, and before the network runs.
    few = [*sweep, '--i-know-this-is-test', '--select', 'few', '--cfg-options', 'test_evaluator.1.few=0']
    few[few.index('--features') + 1] = tmp_path / 'few'
    output = run(*few, status=1)
    assert 'reports overall, many, medium on the test split' in output and 'Traceback' not in output
    output = run(*sweep, '--i-know-this-is-test', '--dtype', 'float16', status=1)
    assert 'holds features of another dtype' in output and 'Traceback' not in output
    pictures[1] = tmp_path / 'blind'
    output = run(sys.executable, 'tools/analysis/pictures.py', BASELINE, with_direction, *pictures, '--cfg-options',
                 'test_evaluator.1.class_counts=[9,9]', status=1)
    assert 'class_counts has 2 classes, but label 9 was tested' in output and 'Traceback' not in output
    assert not (tmp_path / 'few').exists() and not (tmp_path / 'blind').exists()


def test_exponent_of_a_tau_normalised_classifier(linear_checkpoint, tmp_path):
    tau_norm = ['--cfg-options', 'model.head.type=mmcausal.ClassifierHead',
                'model.head.classifier.type=mmcausal.TauNormLinear']
    sweep = [sys.executable, 'tools/analysis/sweep_tau_norm.py', BASELINE, linear_checkpoint, '--features',
             tmp_path / 'store', '--split', 'test', '--out', tmp_path / 'sweep.json', '--exponents']
    assert 'must be a mmcausal.TauNormLinear' in run(*sweep, '0.5', status=1)
    assert 'no longer a result on them' in run(*sweep, '0.5', *tau_norm, status=1)
    assert 'exponent must be a number in [0, 1], but got 1.5' in run(*sweep, '1.5', status=2)
    output = run(*sweep, '0', '1', '--i-know-this-is-test', *tau_norm)
    assert 'Best in overall on the test split' in output
    points = json.loads((tmp_path / 'sweep.json').read_text())['sweep']
    assert points[0] != dict(points[1], exponent=0)
    for point in points:
        out = tmp_path / f'{point["exponent"]}.json'
        run(sys.executable, 'tools/test.py', BASELINE, linear_checkpoint, '--out', out, '--out-item', 'metrics',
            *tau_norm, f'model.head.classifier.exponent={point["exponent"]}')
        assert point['few'] == metrics(out)['shot/few'] and point['overall'] == metrics(out)['shot/overall']


def test_stored_features_are_those_of_a_test_to_the_last_bit(linear_checkpoint, tmp_path):
    run(sys.executable, 'tools/analysis/pictures.py', BASELINE, linear_checkpoint, '--split', 'test', '--features',
        tmp_path / 'store', '--out-dir', tmp_path / 'pictures')
    cfg = Config.fromfile(ROOT / BASELINE)
    cfg.work_dir, cfg.load_from = str(tmp_path), str(linear_checkpoint)
    runner, inputs, threads = Runner.from_cfg(cfg), [], torch.get_num_threads()
    runner.model.head.fc.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    torch.set_num_threads(1)  # as the tool's
    try:
        runner.test()
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(np.load(tmp_path / 'store' / 'features.npy'), torch.cat(inputs).numpy())


def test_other_features_go_to_another_folder():
    identities = [dict(pipeline='x', dataset='y'), dict(pipeline='z', dataset='y'), dict(pipeline='x', dataset='z')]
    folders = {features_folder('a/config.py', 'val', 'float32', identity) for identity in identities}
    folders.add(features_folder('a/config.py', 'val', 'float16', identities[0]))
    assert len(folders) == 4 and all(folder.name.startswith('config_val_') for folder in folders)
    assert features_folder('a/config.py', 'val', 'float32', dict(reversed(identities[0].items()))) in folders
