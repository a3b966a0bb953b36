"""The settings of each method are those of its source, which the tables name."""
import json

import pytest
import torch
from helpers.commands import ROOT
from helpers.configs import load
from mmengine.optim import LinearLR, MultiStepLR

CUI = 'richardaecn/class-balanced-loss: src/cifar_main.py, src/cifar_trainval.sh'
CAO = 'kaidic/LDAM-DRW: cifar_train.py, losses.py, models/resnet_cifar.py'
BAG = 'zhangyongshun/BagofTricks-LT: configs/cao_cifar/re_weighting'
BBN = 'Megvii-Nanjing/BBN: configs/cifar100.yaml'
TDE = 'KaihuaTang/Long-Tailed-Recognition.pytorch: classification/'
KANG = 'facebookresearch/classifier-balancing: config/ImageNet_LT'
EQL = 'tztztztztz/eql.detectron2: fast_rcnn.py'
NO_DECAY = {'head.fc.bias': {'decay_mult': 0.}}

SETTINGS = [
    ('cifar100_lt/focal_r32_ir100', CUI, {'model.head.loss.gamma': 1., 'model.head.init_cfg.type': 'Xavier',
                                          'model.head.init_cfg.bias_prob': 1 / 100,
                                          'optim_wrapper.paramwise_cfg.custom_keys': NO_DECAY}),
    ('cifar10_lt/focal_r32_ir100', CUI, {'model.head.loss.gamma': 1., 'model.head.init_cfg.type': 'Xavier',
                                         'model.head.init_cfg.bias_prob': 1 / 10,
                                         'optim_wrapper.paramwise_cfg.custom_keys': NO_DECAY}),
    ('imagenet_lt/focal_x50_90e', TDE + 'loss/FocalLoss.py', {
        'model.head.loss.type': 'mmcausal.SoftmaxFocalLoss', 'model.head.loss.gamma': 2.,
        'model.head.loss.detach_modulator': True}),
    ('cifar100_lt/class-balanced_r32_ir100', BAG, {'model.head.loss.beta': 0.9}),
    ('cifar100_lt/class-balanced-focal_r32_ir100', BAG, {'model.head.loss.beta': 0.9,
                                                         'model.head.loss.loss.gamma': 1.}),
    ('cifar100_lt/class-balanced-focal_r32_ir50', BAG, {'model.head.loss.beta': 0.99, 'model.head.loss.loss.gamma': 1.}),
    ('cifar10_lt/class-balanced_r32_ir100', BAG, {'model.head.loss.beta': 0.9999}),
    ('cifar10_lt/class-balanced-focal_r32_ir50', BAG, {'model.head.loss.beta': 0.9999,
                                                       'model.head.loss.loss.gamma': 1.}),
    ('cifar100_lt/ldam-drw_r32_ir100', CAO, {'model.head.init_length': 1., 'model.head.tau': 30.,
                                             'model.head.loss.loss.scale': 30.}),
    ('cifar100_lt/bbn_r32_ir100', BBN, {
        'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=2e-4, nesterov=True),
        'train_dataloader.batch_size': 2 * 128}),
    *((config, TDE + 'models/ResNext50Feature.py', {'model.backbone.zero_init_residual': False})
      for config in ('imagenet_lt/linear_x50_90e', 'imagenet_lt/linear_x101-32x4d_120e', 'imagenet_lt/linear_r50_90e',
                     'imagenet_lt/linear_r10_90e', 'inat18/linear_r50_90e')),
    ('imagenet_lt/cosine_x50_90e', TDE + 'config/ImageNet_LT', {'model.head.num_heads': 1}),
    ('imagenet_lt/capsule_x50_90e', TDE + 'config/ImageNet_LT', {'model.head.num_heads': 1}),
    ('imagenet_lt/lws_x50_90e', KANG, {'train_cfg.max_epochs': 5}),
    ('cifar100_lt/lws_r32_ir100', TDE + 'config/CIFAR100_LT/cls_lws.yaml', {'train_cfg.max_epochs': 5}),
]


@pytest.mark.parametrize('config, source, settings', SETTINGS, ids=[row[0] for row in SETTINGS])
def test_settings_are_those_of_the_source(config, source, settings):
    cfg = load(ROOT / 'configs' / f'{config}.py')
    for key, value in settings.items():
        got = cfg
        for part in key.split('.'):
            got = got[part]
        assert got == pytest.approx(value) if isinstance(value, float) else got == value, f'{key} in {source}'


def test_cifar_schedule():
    """Counted from 1, the rate falls at epochs 121 and 161 (in the sources at 120 and 160), and is full from epoch 6."""
    cfg = load(ROOT / 'configs' / 'cifar100_lt' / 'linear_r32_ir100.py')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    warm_up, steps = ({key: value for key, value in part.items() if key not in ('type', 'convert_to_iter_based')}
                      for part in cfg.param_scheduler)
    schedulers = [LinearLR(optimizer, **warm_up), MultiStepLR(optimizer, **steps)]
    rates = {}
    for epoch in range(1, 201):
        rates[epoch] = optimizer.param_groups[0]['lr']
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    expected = {1: 0.2 / 3, 6: 0.2, 120: 0.2, 121: 2e-3, 160: 2e-3, 161: 2e-5, 200: 2e-5}
    assert {epoch: rates[epoch] for epoch in expected} == pytest.approx(expected)
    assert (cfg.train_dataloader.batch_size, cfg.optim_wrapper.optimizer.weight_decay) == (256, 5e-4)


def test_published_accuracies_have_a_config():
    published = json.loads((ROOT / 'tools' / 'published.json').read_text())
    assert [name for name in published if not (ROOT / 'configs' / f'{name}.py').exists()] == []
