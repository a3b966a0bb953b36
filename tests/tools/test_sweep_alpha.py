"""Sweeps of a linear classifier's corrections, as users run them."""
import json
import sys

import pytest
from helpers.commands import BASELINE, metrics, run

HEAD = ['--cfg-options', 'model.head.type=mmcausal.ClassifierHead']
TAU_NORM = [*HEAD, 'model.head.classifier.type=mmcausal.TauNormLinear', 'model.head.classifier.exponent={}']
LOGIT_ADJUSTMENT = [*HEAD, 'model.head.classifier.type=mmcausal.LogitAdjustedLinear', 'model.head.classifier.tau={}',
                    'custom_hooks.0.type=mmcausal.ClassPriorHook']


@pytest.fixture
def sweep(linear_checkpoint, tmp_path):
    return [sys.executable, 'tools/analysis/sweep_alpha.py', BASELINE, linear_checkpoint, '--features',
            tmp_path / 'store', '--split', 'test', '--out', tmp_path / 'sweep.json', '--alphas', '0']


def test_corrections_equal_single_tests(sweep, linear_checkpoint, tmp_path):
    """Without a head direction, because these corrections need none."""
    grid = ['--taus', '0.5', '1', '--exponents', '0.5', '1']
    assert 'no longer a result on them' in run(*sweep, *grid, status=1)
    output = run(*sweep, *grid, '--i-know-this-is-test')
    assert 'Best in overall: tau' in output and 'Best in overall: exponent' in output
    corrections = json.loads((tmp_path / 'sweep.json').read_text())['corrections']
    for setting, options in (('tau', LOGIT_ADJUSTMENT), ('exponent', TAU_NORM)):
        points = corrections[setting]['sweep']
        assert [point[setting] for point in points] == [0.5, 1]
        assert points[0] != dict(points[1], **{setting: 0.5})  # it matters here
        assert corrections[setting]['chosen'] == max(points, key=lambda point: point['overall'])[setting]
        for point in points:
            out = tmp_path / f'{setting}.json'
            run(sys.executable, 'tools/test.py', BASELINE, linear_checkpoint, '--out', out, '--out-item', 'metrics',
                *(option.format(point[setting]) for option in options))
            assert point['few'] == metrics(out)['shot/few'] and point['overall'] == metrics(out)['shot/overall']


def test_corrections_that_do_not_fit_are_refused_before_the_network_runs(sweep, tmp_path):
    consent = ['--i-know-this-is-test']
    assert 'must be a number in [0, 1], but got 1.5' in run(*sweep, '--exponents', '1.5', *consent, status=2)
    assert 'must be a number in [0, inf), but got nan' in run(*sweep, '--taus', 'nan', *consent, status=2)
    tau_norm = [option.format(0.7) for option in TAU_NORM]
    output = run(*sweep, '--exponents', '0.5', *consent, *tau_norm, status=1)
    assert 'but got 0.5 for a TauNormLinear' in output and 'Traceback' not in output
    assert 'leave out --normalizers' in run(*sweep, '--taus', '1', '--normalizers', 'cosine', *consent, status=2)
    counts = '[9,9,9,9,9,9,9,9,9,0]'
    output = run(*sweep, '--taus', '1', *consent, '--cfg-options', f'test_evaluator.1.class_counts={counts}', status=1)
    assert 'class 9 with count 0' in output and 'Traceback' not in output
    output = run(*sweep[:-1], '1', *consent, status=1)
    assert 'needs the head direction' in output and 'Traceback' not in output
    assert not (tmp_path / 'store').exists()


def test_a_loss_on_sigmoids_is_refused_before_the_network_runs(sweep, tmp_path):
    output = run(*sweep, '--i-know-this-is-test', '--cfg-options', 'model.head.loss.use_sigmoid=True', status=1)
    assert 'CrossEntropyLoss takes sigmoids (use_sigmoid=True); use a head' in output and 'Traceback' not in output
    assert not (tmp_path / 'store').exists()
