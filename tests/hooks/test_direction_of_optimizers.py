"""What the head direction follows under the optimisers that people train with, in real Runners."""
import pytest
import torch
from helpers.commands import DIGITS, ROOT
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS

OPTIMIZERS = {
    'SGD': (dict(type='SGD', lr=0.1, momentum=0.8, nesterov=True), 0.8),
    'AdamW': (dict(type='AdamW', lr=1e-3, weight_decay=0.05), 0.9),
    'Adam': (dict(type='Adam', lr=1e-3, betas=(0.7, 0.99)), 0.7),
    'Lamb': (dict(type='Lamb', lr=1e-3), 0.9),
    'Adan': (dict(type='Adan', lr=1e-3, foreach=False), 0.98),  # the three betas are weights of old values
    'LARS': (dict(type='LARS', lr=0.1, momentum=0.95), 0.95),
    'RMSprop': (dict(type='RMSprop', lr=1e-3, momentum=0.6), 0.6),
}
WITHOUT_MOMENTUM = [dict(type='SGD', lr=0.1), dict(type='RMSprop', lr=1e-3), dict(type='Adagrad', lr=1e-3)]
PARAMWISE = dict(custom_keys={'backbone': dict(lr_mult=0.1), 'head.fc': dict(lr_mult=10., decay_mult=0.)})


def digits(work_dir, optimizer, **changes):
    """Return the Runner of one epoch, eight steps, without validation, and the batch means of its classifier."""
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.custom_hooks = [dict(type='mmcausal.HeadDirectionHook')]
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.param_scheduler = None
    cfg.optim_wrapper = dict(optimizer=optimizer)
    cfg.randomness = dict(seed=0)
    for split in ('val', 'test'):
        cfg[f'{split}_cfg'] = cfg[f'{split}_dataloader'] = cfg[f'{split}_evaluator'] = None
    cfg.merge_from_dict(dict(changes, work_dir=str(work_dir), experiment_name=str(work_dir)))
    runner = Runner.from_cfg(cfg)
    means = []
    runner.model.head.fc.register_forward_pre_hook(lambda layer, args: means.append(args[0].detach().mean(0)))
    return runner, means


def check_direction(layer, means, momenta):
    expected = torch.zeros(256)
    for mean, momentum in zip(means, momenta):
        expected = momentum * expected + (1 - momentum) * mean
    assert layer.num_updates == len(means) == 8
    torch.testing.assert_close(layer.mean_feature, expected)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_auto_is_the_weight_of_the_old_gradients(name, tmp_path):
    optimizer, momentum = OPTIMIZERS[name]
    runner, means = digits(tmp_path, optimizer)
    runner.train()
    check_direction(runner.model.head.fc, means, [momentum] * 8)


@pytest.mark.parametrize('optimizer', WITHOUT_MOMENTUM, ids=lambda optimizer: optimizer['type'])
def test_without_momentum(optimizer, tmp_path):
    runner, _ = digits(tmp_path, optimizer)
    with pytest.raises(ValueError, match=f'found neither momentum nor betas in {optimizer["type"]}; set momentum to a'):
        runner.train()
    runner, means = digits(tmp_path, optimizer, custom_hooks=[dict(type='mmcausal.HeadDirectionHook', momentum=0.5)])
    runner.train()
    check_direction(runner.model.head.fc, means, [0.5] * 8)


def test_learning_rates_by_parameter(tmp_path):
    optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
    runner, means = digits(tmp_path, optimizer, **{'optim_wrapper.paramwise_cfg': PARAMWISE})
    runner.train()
    assert {round(group['lr'], 4) for group in runner.optim_wrapper.optimizer.param_groups} == {0.01, 1.}
    check_direction(runner.model.head.fc, means, [0.9] * 8)


def test_scheduled_momentum_is_that_of_the_step(tmp_path):
    schedule = dict(type='LinearMomentum', start_factor=0.5, end=4, by_epoch=False)
    runner, means = digits(tmp_path, dict(type='SGD', lr=0.1, momentum=0.8), param_scheduler=[schedule])
    runner.train()
    check_direction(runner.model.head.fc, means, [0.4, 0.4 + 0.4 / 3, 0.4 + 0.8 / 3, *[0.8] * 5])


@MODELS.register_module()
class SharpnessAwareClassifier(ImageClassifier):
    """Take the gradient at weights that were moved uphill (Foret et al., ICLR 2021): two passes a step."""
    sees_both_passes = True

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        self.parse_losses(self._run_forward(data, mode='loss'))[0].backward()
        weights = [p for p in self.parameters() if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in weights]).norm()
        steps = [0.05 / norm * p.grad for p in weights]
        optim_wrapper.zero_grad()
        torch._foreach_add_([p.data for p in weights], steps)
        observed = self.head.fc.observed.clone()
        loss, log_vars = self.parse_losses(self._run_forward(data, mode='loss'))
        if not self.sees_both_passes:
            self.head.fc.observed.copy_(observed)
        torch._foreach_sub_([p.data for p in weights], steps)
        optim_wrapper.update_params(loss)
        return log_vars


@pytest.mark.parametrize('sees_both_passes', [True, False])
def test_two_passes_a_step_are_one_update(sees_both_passes, tmp_path, monkeypatch):
    monkeypatch.setattr(SharpnessAwareClassifier, 'sees_both_passes', sees_both_passes)
    runner, means = digits(tmp_path, dict(type='SGD', lr=0.1, momentum=0.9),
                           **{'model.type': 'SharpnessAwareClassifier'})
    runner.train()
    clean, perturbed = means[::2], means[1::2]
    averages = [(a + b) / 2 for a, b in zip(clean, perturbed)] if sees_both_passes else clean
    check_direction(runner.model.head.fc, averages, [0.9] * 8)
    cosines = torch.nn.functional.cosine_similarity(torch.stack(clean), torch.stack(perturbed))
    assert (cosines > 0.999).all()  # so the perturbed pass does no harm
