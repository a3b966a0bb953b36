"""Sweeps of a linear classifier's corrections, as users run them."""
import json

import pytest
from helpers.commands import BASELINE, DIGITS, ROOT, metrics
from helpers.data import write_image
from helpers.in_process import call, run_tool

HEAD = ['--cfg-options', 'model.head.type=mmcausal.ClassifierHead']
TAU_NORM = [*HEAD, 'model.head.classifier.type=mmcausal.TauNormLinear', 'model.head.classifier.exponent={}']
LOGIT_ADJUSTMENT = [*HEAD, 'model.head.classifier.type=mmcausal.LogitAdjustedLinear', 'model.head.classifier.tau={}',
                    'custom_hooks.0.type=mmcausal.ClassPriorHook']


@pytest.fixture
def sweep(linear_checkpoint, tmp_path):
    return ['analysis/sweep_alpha.py', BASELINE, linear_checkpoint, '--features',
            tmp_path / 'store', '--split', 'test', '--out', tmp_path / 'sweep.json', '--alphas', '0']


def test_corrections_equal_single_tests(sweep, linear_checkpoint, tmp_path):
    """Without a head direction, because these corrections need none."""
    grid = ['--taus', '0.5', '1', '--exponents', '0.5', '1']
    assert 'no longer a result on them' in run_tool(*sweep, *grid, status=1)
    output = run_tool(*sweep, *grid, '--i-know-this-is-test')
    assert 'Best in overall: tau' in output and 'Best in overall: exponent' in output
    corrections = json.loads((tmp_path / 'sweep.json').read_text())['corrections']
    for setting, options in (('tau', LOGIT_ADJUSTMENT), ('exponent', TAU_NORM)):
        points = corrections[setting]['sweep']
        assert [point[setting] for point in points] == [0.5, 1]
        assert points[0] != dict(points[1], **{setting: 0.5})  # it matters here
        assert corrections[setting]['chosen'] == max(points, key=lambda point: point['overall'])[setting]
        for point in points:
            out = tmp_path / f'{setting}.json'
            run_tool('test.py', BASELINE, linear_checkpoint, '--out', out, '--out-item', 'metrics',
                     *(option.format(point[setting]) for option in options))
            assert point['few'] == metrics(out)['shot/few'] and point['overall'] == metrics(out)['shot/overall']


def test_corrections_that_do_not_fit_are_refused_before_the_network_runs(sweep, tmp_path):
    consent = ['--i-know-this-is-test']
    assert 'must be a number in [0, 1], but got 1.5' in run_tool(*sweep, '--exponents', '1.5', *consent, status=2)
    assert 'must be a number in [0, inf), but got nan' in run_tool(*sweep, '--taus', 'nan', *consent, status=2)
    tau_norm = [option.format(0.7) for option in TAU_NORM]
    output = run_tool(*sweep, '--exponents', '0.5', *consent, *tau_norm, status=1)
    assert 'but got 0.5 for a TauNormLinear' in output and 'Traceback' not in output
    assert 'leave out --normalizers' in run_tool(*sweep, '--taus', '1', '--normalizers', 'cosine', *consent, status=2)
    counts = 'test_evaluator.1.class_counts=[9,9,9,9,9,9,9,9,9,0]'
    output = run_tool(*sweep, '--taus', '1', *consent, '--cfg-options', counts, status=1)
    assert "label 0: 9 here, 100 in the dataset's metainfo" in output and 'Traceback' not in output
    output = run_tool(*sweep[:-1], '1', *consent, status=1)
    assert 'needs the head direction' in output and 'Traceback' not in output
    assert not (tmp_path / 'store').exists()


def test_the_chosen_alpha_goes_into_a_config_for_all(two_rank_checkpoint, tmp_path):
    config, chosen = tmp_path / 'wrong.py', tmp_path / 'configs' / 'chosen.py'
    config.write_text(f"_base_ = '{ROOT / DIGITS}'\nmodel = dict(head=dict(alpha=9.))\n")
    sweep = ['analysis/sweep_alpha.py', config, two_rank_checkpoint, '--features',
             tmp_path / 'store', '--alphas', '0.4', 'auto', '0', '--select', 'few', '--out', tmp_path / 'sweep.json']
    write = ['--write-config', chosen]
    output = run_tool(*sweep, *write)
    result = json.loads((tmp_path / 'sweep.json').read_text())
    points = result['sweeps']['deconfound']
    best = max(points, key=lambda point: point['few'])
    assert [point['alpha'] for point in points] == [0, 0.4, pytest.approx(result['auto_alpha'])]
    text = chosen.read_text()
    assert text.splitlines()[0] == '# alpha with the best few on 240 images of the val split, epoch_2.pth'
    assert f"model = dict(head=dict(alpha={best['alpha']!r}))" in text
    assert f'python tools/test.py {chosen} {two_rank_checkpoint}' in output

    # As the command says, on the same images
    run_tool('test.py', chosen, two_rank_checkpoint, '--out', tmp_path / 'm.json', '--out-item',
             'metrics', '--work-dir', tmp_path, '--cfg-options', 'test_dataloader.dataset.split=val')
    for group in ('many', 'medium', 'few', 'overall'):
        assert metrics(tmp_path / 'm.json')[f'shot/{group}'] == best[group]
    total_effect = metrics(tmp_path / 'm.json').get('shot/total_effect_few', points[0]['few'])
    assert total_effect == points[0]['few']  # without these keys if the best alpha is 0

    assert 'exists and is not overwritten' in run_tool(*sweep, *write, status=2)
    other = ['--overwrite', '--write-config', tmp_path / 'other.py']
    assert 'leave out --i-know-this-is-test' in run_tool(*sweep, *other, '--i-know-this-is-test', status=2)
    assert 'leave out --normalizers' in run_tool(*sweep, *other, '--normalizers', 'cosine', status=2)
    assert 'put the changes of its model into a config' in run_tool(
        *sweep, *other, '--cfg-options', 'model.head.tau=8', status=2)
    assert 'no longer a result on them' in run_tool(*sweep, *other, '--split', 'test', status=1)
    assert 'must end in .py' in run_tool(*sweep, '--write-config', tmp_path / 'other.json', status=2)
    assert not (tmp_path / 'other.py').exists()


def test_a_loss_on_sigmoids_is_refused_before_the_network_runs(sweep, tmp_path):
    output = run_tool(*sweep, '--i-know-this-is-test', '--cfg-options', 'model.head.loss.use_sigmoid=True', status=1)
    assert 'CrossEntropyLoss takes sigmoids (use_sigmoid=True); use a head' in output and 'Traceback' not in output
    assert not (tmp_path / 'store').exists()


def test_groups_with_names_of_the_user(two_rank_checkpoint, tmp_path):
    sweep = ['analysis/sweep_alpha.py', DIGITS, two_rank_checkpoint, '--features',
             tmp_path / 'store', '--alphas', '0', '0.5', '--cfg-options', 'val_evaluator.1.groups.round=[0,6,8,9]',
             'val_evaluator.1.groups.straight=[1,4,7]']
    output = run_tool(*sweep, '--select', 'round')
    header = next(line for line in output.splitlines() if 'entropy' in line and 'alpha' in line)
    assert header.split() == ['alpha', 'round', 'straight', 'overall', 'entropy']
    assert 'best in round on the val split' in output
    output = run_tool(*sweep, '--select', 'few', status=1)
    assert '--select few: the shot metric reports overall, round, straight on the val split' in output


def test_a_classifier_that_found_no_class_counts_gets_those_of_the_data(sweep, linear_checkpoint, tmp_path):
    """As ClassPriorHook gives them in a test: logit adjustment on a checkpoint of the linear classifier."""
    sweep[1] = tmp_path / 'adjusted.py'
    sweep[1].write_text(f"""_base_ = '{ROOT / BASELINE}'
custom_hooks = [dict(type='mmcausal.ClassPriorHook')]
visualizer = None
model = dict(head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.LogitAdjustedLinear')))
""")
    run_tool(*sweep, '--i-know-this-is-test')
    point, = next(iter(json.loads((tmp_path / 'sweep.json').read_text())['sweeps'].values()))
    out = tmp_path / 'tested.json'
    run_tool('test.py', sweep[1], linear_checkpoint, '--out', out, '--out-item', 'metrics')
    assert point['overall'] == metrics(out)['shot/overall'] and point['few'] == metrics(out)['shot/few']
    status, output = call('deployment/export_onnx.py', sweep[1], linear_checkpoint, tmp_path / 'adjusted.onnx',
                          '--image-size', 8, 8, '--channels', 1)
    assert status == 0 and 'logits of onnxruntime and PyTorch differ by at most' in output
    write_image(tmp_path / 'image.png', size=8)
    status, output = call('demo.py', tmp_path / 'image.png', sweep[1], linear_checkpoint, '--out', tmp_path / 'd.png')
    assert status == 0 and 'total effect' in output
