"""Second stages on the features of stage one, in a real Runner."""
import pytest
import torch
from helpers.runners import baseline_cfg, train_stage_two, unchanged
from mmengine.runner import Runner

from mmcausal.hooks import RestartClassifierHook
from mmcausal.models import LWSLinear


def test_retrained_classifier_on_the_features_of_stage_one(stage_one, tmp_path):
    runner = train_stage_two(tmp_path, stage_one.checkpoint, {},
                             custom_hooks=[dict(type='mmcausal.RestartClassifierHook')])
    assert unchanged(runner, stage_one)  # weights and batch statistics
    assert not torch.allclose(runner.model.head.fc.weight, stage_one.model.head.fc.weight, atol=0.05)

    # as tools/train.py --resume
    cfg = baseline_cfg(tmp_path, 3, **{'model.type': 'mmcausal.StageTwoClassifier', 'load_from': None,
                                      'resume': True, 'custom_hooks': [dict(type='mmcausal.RestartClassifierHook')]})
    resumed = Runner.from_cfg(cfg)
    resumed._train_loop = resumed.build_train_loop(resumed._train_loop)
    resumed.load_or_resume()
    RestartClassifierHook().before_train(resumed)  # resumed training keeps its classifier
    assert torch.equal(resumed.model.head.fc.weight, runner.model.head.fc.weight)


def test_second_stage_needs_the_first(stage_one, tmp_path):
    with pytest.raises(RuntimeError, match="set load_from to stage one's checkpoint"):
        train_stage_two(tmp_path / 'none', None, {})
    checkpoint = torch.load(stage_one.checkpoint, weights_only=False)
    state = {key.replace('backbone.', 'backbone.body.'): value for key, value in checkpoint['state_dict'].items()}
    torch.save(dict(state_dict=state), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='the checkpoint is not one of this SmallConvNet: .* is not in the checkpoint'):
        train_stage_two(tmp_path / 'other', str(tmp_path / 'other.pth'), {})
    key = next(key for key in checkpoint['state_dict'] if key.endswith('weight'))
    checkpoint['state_dict'][key] = torch.zeros(1, 2)
    torch.save(checkpoint, tmp_path / 'wide.pth')
    with pytest.raises(ValueError, match=r'has shape .* here, but \(1, 2\) in the checkpoint'):
        train_stage_two(tmp_path / 'wide', str(tmp_path / 'wide.pth'), {})
    with pytest.raises(RuntimeError, match='LWSLinear scales the class weights of a trained classifier'):
        LWSLinear(4, 3).train()(torch.randn(2, 4))
