"""Head directions for stock checkpoints, then tests, sweeps and plots with TDE, as users run them."""
import json

import torch
from helpers import oracle
from helpers.commands import BASELINE, ROOT, metrics
from helpers.in_process import run_tool
from helpers.runners import shapes_cfg
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal.analysis import write_alpha_config
from mmcausal.models import TDEClassifierTTA
from mmcausal.registry import MODELS


def test_direction_and_tde_for_a_linear_checkpoint(linear_checkpoint, tmp_path):
    with_direction = tmp_path / 'with_direction.pth'
    run_tool('analysis/estimate_direction.py', BASELINE, linear_checkpoint, with_direction)
    state = torch.load(with_direction, map_location='cpu', weights_only=False)['state_dict']
    assert state['head.fc.mean_feature'].any()
    averaged = torch.load(linear_checkpoint, map_location='cpu', weights_only=False)  # as EMAHook saves it
    averaged['ema_state_dict'] = {f'module.{key}': value for key, value in averaged['state_dict'].items()}
    torch.save(averaged, tmp_path / 'averaged.pth')
    run_tool('analysis/estimate_direction.py', BASELINE, tmp_path / 'averaged.pth', tmp_path / 'both.pth')
    both = torch.load(tmp_path / 'both.pth', map_location='cpu', weights_only=False)
    for buffer in ('mean_feature', 'mean_cosine', 'num_updates'):
        own = both['state_dict'][f'head.fc.{buffer}']
        assert own.any() and torch.equal(both['ema_state_dict'][f'module.head.fc.{buffer}'], own)
    moving = tmp_path / 'moving.pth'
    run_tool('analysis/estimate_direction.py', BASELINE, linear_checkpoint, moving, '--momentum', '0.9')
    average = torch.load(moving, map_location='cpu', weights_only=False)['state_dict']
    assert average['head.fc.num_updates'] == 8 and state['head.fc.num_updates'] == 1
    assert torch.cosine_similarity(average['head.fc.mean_feature'], state['head.fc.mean_feature'], dim=0) > 0.95

    def tested(alpha):
        out = tmp_path / f'{alpha}.json'
        run_tool('test.py', BASELINE, with_direction, '--tta', '--out', out, '--out-item', 'metrics',
                 '--cfg-options', 'model.type=mmcausal.TDEClassifierTTA', f'model.alpha={alpha}')
        return metrics(out)

    factual = tmp_path / 'factual.json'
    run_tool('test.py', BASELINE, linear_checkpoint, '--out', factual, '--out-item', 'metrics')
    assert tested(0) == metrics(factual)
    half = tested(0.5)
    assert half != metrics(factual)
    # A config that wraps the model gives the same, also if --tta wraps it once more.
    write_alpha_config(str(ROOT / BASELINE), 0.5, tmp_path / 'half.py')
    for tta in ([], ['--tta']):
        run_tool('test.py', tmp_path / 'half.py', with_direction, '--out', tmp_path / 'chosen.json',
                 '--out-item', 'metrics', '--work-dir', tmp_path, *tta)
        assert metrics(tmp_path / 'chosen.json') == half

    # A sweep equals the single tests, refuses test images without consent, and its features serve the plots too.
    features = ['--features', tmp_path / 'store', '--split', 'test']
    sweep = ['analysis/sweep_alpha.py', BASELINE, with_direction, *features, '--alphas', '0',
             '0.5', '--out', tmp_path / 'sweep.json']
    assert 'no longer a result on them' in run_tool(*sweep, status=1) and not (tmp_path / 'store').exists()
    assert 'best in overall on the test split' in run_tool(*sweep, '--i-know-this-is-test')
    points = json.loads((tmp_path / 'sweep.json').read_text())['sweeps']['linear']
    for point, single in zip(points, (metrics(factual), half)):
        assert {f'shot/{group}': point[group] for group in ('many', 'medium', 'few', 'overall')} == {
            key: value for key, value in single.items() if key.startswith('shot/') and 'total_effect' not in key}
    assert {f'shot/total_effect_{group}': points[0][group] for group in ('many', 'medium', 'few', 'overall')} == {
        key: value for key, value in half.items() if 'total_effect' in key}
    chosen = json.loads((tmp_path / 'sweep.json').read_text())['chosen']['linear']
    assert chosen['best'] == max(points, key=lambda point: point['overall'])['alpha']
    assert chosen['largest_entropy'] == max(points, key=lambda point: point['entropy'])['alpha']
    assert (tmp_path / 'sweep_linear.png').stat().st_size > 10000
    pictures = [*features, '--out-dir', tmp_path / 'pictures']
    output = run_tool('analysis/pictures.py', BASELINE, with_direction, *pictures)
    stock = run_tool('analysis/pictures.py', BASELINE, linear_checkpoint, '--out-dir',
                     tmp_path / 'stock', '--features', tmp_path / 'stock_store')
    assert 'no head direction' in stock and len(list((tmp_path / 'stock').glob('*.png'))) == 6
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 8 and 'Features of' not in output
    # Errors are one sentence, before the network runs.
    sweep += ['--overwrite', '--i-know-this-is-test']
    few = [*sweep, '--select', 'few', '--cfg-options', 'test_evaluator.1.few=0']
    few[few.index('--features') + 1] = tmp_path / 'few'
    output = run_tool(*few, status=1)
    assert 'reports overall, many, medium on the test split' in output and 'Traceback' not in output
    output = run_tool(*sweep, '--dtype', 'float16', status=1)
    assert 'holds features of another dtype' in output and 'Traceback' not in output
    pictures[1] = tmp_path / 'blind'
    output = run_tool('analysis/pictures.py', BASELINE, with_direction, *pictures, '--overwrite',
                      '--cfg-options', 'test_evaluator.1.class_counts=[9,9]', status=1)
    assert 'class_counts must have one number for each of the 10 classes' in output and 'Traceback' not in output
    assert not (tmp_path / 'few').exists() and not (tmp_path / 'blind').exists()


def test_a_direction_for_the_hosts_cosine_classifier(tmp_path):
    """Run the tool on a checkpoint of MMPretrain's own head, then test it with the wrapper."""
    config = tmp_path / 'arcface.py'
    config.write_text(f"""_base_ = '{ROOT}/configs/digits_lt/linear_small_ir100.py'
model = dict(head=dict(_delete_=True, type='ArcFaceClsHead', num_classes=10, in_channels=256, scale=20.))
""")
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    stock = MODELS.build(cfg.model).eval()
    torch.save(dict(state_dict=stock.state_dict()), tmp_path / 'stock.pth')
    tool = ['analysis/estimate_direction.py', config, tmp_path / 'stock.pth', tmp_path / 'd.pth']
    refusal = run_tool(*tool, status=1)
    assert "is not a layer of ImageClassifier" in refusal and 'Traceback' not in refusal
    assert 'head.norm_product: mean cosine' in run_tool(*tool, '--classifier', 'head.norm_product')

    images = torch.randn(4, 1, 8, 8)
    features = stock.extract_feat(images)[-1]
    wrapper = TDEClassifierTTA(MODELS.build(cfg.model), alpha=0.5, classifier='head.norm_product').eval()
    state = torch.load(tmp_path / 'd.pth', map_location='cpu', weights_only=False)['state_dict']
    wrapper.module.load_state_dict(state)
    assert state['head.norm_product.mean_feature'].any()
    arguments = [value.tolist() for value in (features, stock.head.norm_product.weight,
                                              state['head.norm_product.mean_feature'])]
    expected = oracle.tde_logits(*arguments, 0.5, 1, 20., 0., 'cosine')
    torch.testing.assert_close(wrapper.module(images), torch.tensor(expected), atol=1e-4, rtol=1e-5)


def test_stock_detector_gets_directions_and_tde(shapes, tmp_path):
    """Train a stock Cascade Mask R-CNN, estimate the direction of each stage and test with it, by the tools."""
    cfg = shapes_cfg('cascade_baseline_r18', shapes, tmp_path)
    cfg.val_evaluator.metric = cfg.test_evaluator.metric = 'bbox'
    config = tmp_path / 'config' / 'stock.py'  # not in work_dir, where Runners dump theirs
    config.parent.mkdir()
    cfg.dump(config)
    run_tool('train.py', config)
    estimated = tmp_path / 'with_direction.pth'
    output = run_tool('analysis/estimate_direction.py', config, tmp_path / 'epoch_1.pth', estimated)
    assert all(f'roi_head.bbox_head.{stage}.fc_cls: mean cosine' in output for stage in range(3))
    before = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    after = torch.load(estimated, map_location='cpu', weights_only=False)['state_dict']
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert set(after) - set(before) == {f'roi_head.bbox_head.{stage}.fc_cls.{buffer}' for stage in range(3)
                                        for buffer in ('mean_feature', 'mean_cosine', 'num_updates')}
    output = run_tool('test.py', config, estimated, '--tta', '--cfg-options', 'tta_model.alpha=1.5')
    assert 'bbox_AP' in output
    del before['roi_head.bbox_head.2.fc_cls.weight']
    torch.save(dict(state_dict=before), tmp_path / 'two_stages.pth')
    output = run_tool('analysis/estimate_direction.py', config, tmp_path / 'two_stages.pth',
                      tmp_path / 'not_there.pth', status=1)
    assert 'bbox_head.2.fc_cls.weight has shape (25, ' in output and 'here, but is not in the checkpoint' in output
    assert 'Traceback' not in output
