"""Compiled backbones in a real Runner."""
import pytest
import torch
from helpers.runners import digits_runner

from mmcausal.hooks import CompileBackboneHook
from mmcausal.hooks.compile_backbone_hook import OLDEST

COMPILED = {'default_hooks.compile': dict(type='mmcausal.CompileBackboneHook', backend='aot_eager')}
is_old = tuple(map(int, torch.__version__.split('.')[:2])) < OLDEST


def train(folder, **changes):
    """Return the Runner after its training, and the losses."""
    runner = digits_runner(folder, **changes)
    runner.train()
    return runner, torch.as_tensor(runner.message_hub.get_scalar('train/loss').data[0])


@pytest.mark.skipif(is_old, reason='this PyTorch compiles no backbone')
def test_a_compiled_backbone_trains_and_validates_alike(tmp_path):
    torch._dynamo.reset()
    (plain, expected), (compiled, losses) = train(tmp_path / 'plain'), train(tmp_path / 'compiled', **COMPILED)
    torch.testing.assert_close(losses, expected, atol=1e-4, rtol=1e-4)
    assert compiled.model.backbone._compiled_call_impl is not None
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    shot = [runner.message_hub.get_scalar('val/shot/overall').current() for runner in (plain, compiled)]
    assert shot[0] == pytest.approx(shot[1], abs=1.)
    weights = torch.load(tmp_path / 'compiled' / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert weights.keys() == plain.model.state_dict().keys()


@pytest.mark.skipif(is_old, reason='this PyTorch compiles no backbone')
def test_an_unknown_compiler_is_refused(tmp_path):
    unknown = {'default_hooks.compile': dict(type='mmcausal.CompileBackboneHook', backend='x')}
    runner = digits_runner(tmp_path, **unknown)
    with pytest.raises(ValueError, match="backend must be one of .*'inductor'.* but got 'x'"):
        runner.train()


def test_an_older_pytorch_trains_without(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.1.2+cpu')
    runner, warnings = digits_runner(tmp_path, **COMPILED), []
    monkeypatch.setattr(runner.logger, 'warning', warnings.append)
    CompileBackboneHook().before_run(runner)
    assert warnings == ['The backbone is not compiled: that needs PyTorch 2.4, but this is 2.1.2+cpu']
    assert getattr(runner.model.backbone, '_compiled_call_impl', None) is None


def test_a_model_without_a_backbone_is_refused(tmp_path):
    runner = digits_runner(tmp_path)
    runner.model.backbone = None
    with pytest.raises(ValueError, match='needs a model with a backbone, but got a ImageClassifier'):
        CompileBackboneHook().before_run(runner)
