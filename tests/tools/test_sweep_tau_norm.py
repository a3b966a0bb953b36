"""A sweep over the exponent of a tau-normalised classifier, as users run it."""
import json
import sys

from helpers.commands import BASELINE, metrics, run


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
