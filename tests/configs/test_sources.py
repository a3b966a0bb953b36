"""The settings of each method are those of its source, which the tables name."""
import inspect
import json

import pytest
import torch
from helpers.commands import ROOT
from helpers.configs import load
from mmengine.optim import LinearLR, MultiStepLR

import mmcausal

# Repository and commit of each source; a row of SETTINGS adds the file with its lines, or the name of a key or function
CUI = 'richardaecn/class-balanced-loss@0ab6eb775c'
CAO = 'kaidic/LDAM-DRW@6feb304a33'
BAG = 'zhangyongshun/BagofTricks-LT@2ac14397f0 and @91880c7ed1'
ZHANG = 'facebookresearch/mixup-cifar10@1fe8c5edea'
ZHOU = 'megvii-research/BBN@4885096940'
TANG = 'KaihuaTang/Long-Tailed-Recognition.pytorch@54c07cfc54'
TANG_CIFAR = 'KaihuaTang/Long-Tailed-Recognition.pytorch@0a5a7af693 (CIFAR-100), @cd71a3d3a1 (CIFAR-10)'
TANG_IMAGENET = 'KaihuaTang/Long-Tailed-Recognition.pytorch@8e3427d051'
TANG_CLASSIFIER = 'KaihuaTang/Long-Tailed-Recognition.pytorch@f114d9d8f5'
KANG = 'facebookresearch/classifier-balancing@22370c6414'
LIU = 'zhmiao/OpenLongTailRecognition-OLTR@8132217212'
TAN = 'tztztztztz/eql.detectron2@d24f9826b2'
ZHONG = 'dvlab-research/MiSLAS@dcdc6cf2d1'
MENON = 'google-research/google-research@ccc94ce348'
SEESAW = 'open-mmlab/mmdetection@19bceba562'

PUBLISHED = json.loads((ROOT / 'tools' / 'published.json').read_text())
HEAD, LOSS = 'model.head', 'model.head.loss'
OPTIMIZER = 'optim_wrapper.optimizer'
NO_DECAY = {'optim_wrapper.paramwise_cfg.custom_keys': {'head.fc.bias': {'decay_mult': 0.}}}
IMAGENET_RECIPE = {f'{OPTIMIZER}.lr': 0.2, f'{OPTIMIZER}.weight_decay': 5e-4, 'train_cfg.max_epochs': 90,
                   'param_scheduler.type': 'CosineAnnealingLR', 'auto_scale_lr.base_batch_size': 512}
LDAM_SOURCE = [f'cifar{n}_lt/ldam-drw_r32_ir{ratio}_source' for n in (10, 100) for ratio in (100, 50, 10)]
CIFAR10, CIFAR100 = ([f'cifar{n}_lt/{{}}_r32_ir{ratio}' for ratio in (100, 50, 10)] for n in (10, 100))
HTC = [name for name in PUBLISHED if name.startswith('lvis/')]


def named(method, names):
    """Return the configs of a method."""
    return [name.format(method) for name in names]


# configs, source, file: lines or names, settings there
SETTINGS = [
    # The paper's own method
    (named('deconfound', CIFAR10 + CIFAR100) + named('deconfound-tde', CIFAR10 + CIFAR100), TANG_CIFAR,
     'classification/config/CIFAR*_LT/causal_norm_32.yaml: 17-19, 23, 24, 29, 39', {
         f'{OPTIMIZER}.lr': 0.2, f'{OPTIMIZER}.momentum': 0.9, f'{OPTIMIZER}.weight_decay': 5e-4,
         'train_dataloader.batch_size': 256, 'train_cfg.max_epochs': 200}),
    # Their files are for ratio 100; for the others, classification/README.md says to change cifar_imb_ratio alone
    (named('deconfound-tde', CIFAR100), TANG_CIFAR, 'classification/config/CIFAR100_LT/causal_norm_32.yaml: 19',
     {f'{HEAD}.alpha': 1.5}),
    (named('deconfound-tde', CIFAR10), TANG_CIFAR, 'classification/config/CIFAR10_LT/causal_norm_32.yaml: 19',
     {f'{HEAD}.alpha': 1.}),
    ([f'imagenet_lt/{method}_x50_90e' for method in ('deconfound', 'deconfound-tde')], TANG_IMAGENET,
     'classification/config/ImageNet_LT/causal_norm.yaml: 17, 18, 23, 24, 29, 38', IMAGENET_RECIPE),
    ([f'imagenet_lt/{method}-tde_x50_90e' for method in ('deconfound', 'cosine', 'capsule', 'cosine-k2', 'capsule-k2')]
     + ['imagenet_lt/deconfound-tde_x101-32x4d_120e'], TANG_IMAGENET,
     'classification/config/ImageNet_LT/causal_norm.yaml: 19', {f'{HEAD}.alpha': 3.}),
    ([f'imagenet_lt/{method}_x101-32x4d_120e' for method in ('deconfound', 'deconfound-tde')], 'the paper',
     'section on larger backbones', {
         f'{HEAD}.num_heads': 4, f'{HEAD}.gamma': 1 / 64, 'model.backbone.depth': 101, 'train_cfg.max_epochs': 120}),
    (HTC, TANG, 'lvis1.0/configs/htc/htc_r101_fpn_20e_causal.py: 4-6; '
     '.../htc_without_semantic_r50_fpn_1x_lvis.py: 7, 40-44, test_cfg', {
         'model.type': 'HybridTaskCascade', 'model.roi_head.interleaved': True, 'model.roi_head.mask_info_flow': True,
         'model.roi_head.num_stages': 3, 'model.backbone.depth': 101, f'{OPTIMIZER}.weight_decay': 1e-4,
         'train_cfg.max_epochs': 20, 'param_scheduler.1.milestones': [16, 19],
         'model.test_cfg.rcnn.max_per_img': 300, 'auto_scale_lr.base_batch_size': 16}),
    ([name for name in HTC if 'r101' in name], TANG, 'lvis1.0/configs/htc/htc_r101_fpn_20e_causal.py: 4-6',
     {f'{OPTIMIZER}.lr': 0.02}),
    ([name for name in HTC if 'x101' in name], TANG, 'lvis_old/configs/htc/htc_x101_64x4d_fpn_20e_16gpu_causal.py: '
     'backbone, optimizer, with imgs_per_gpu=1', {
         f'{OPTIMIZER}.lr': 0.01, 'model.backbone.type': 'ResNeXt', 'model.backbone.groups': 64,
         'model.backbone.base_width': 4}),
    ([name for name in HTC if 'cosine' in name or 'capsule' in name], 'the paper', 'Table 4, with K as in Table 2',
     {'model.roi_head.classifier.num_heads': 1}),
    ([name for name in HTC if 'tde' in name], TANG,
     'lvis1.0/mmdet/models/roi_heads/bbox_heads/convfc_bbox_head.py: 60-63', {'model.roi_head.classifier.alpha': 1.5}),
    ([name for name in HTC if 'baseline' not in name], TANG,
     'lvis1.0/mmdet/models/roi_heads/bbox_heads/convfc_bbox_head.py: 69; '
     'lvis_old/mmdet/models/detectors/htc.py: _bbox_forward_train, which replaces the 0.9 of the head',
     {'custom_hooks.1.momentum': 1 - (1 - 0.9) * 0.002}),
    ([name for name in HTC if 'baseline' in name and 'v0.5' in name], TANG,
     'lvis_old/mmdet/models/bbox_heads/convfc_bbox_head.py: __init__, without DECONFOUND_TRAIN, and init_weights', {
         f'model.roi_head.bbox_head.{stage}.cls_predictor_cfg': dict(type='Linear', bias=False)
         for stage in range(3)}),
    (['lvis/cascade_focal_r101', 'lvis/cascade_focal_r101_lvis-v0.5'], TANG,
     'lvis_old/mmdet/models/losses/focal_loss.py: forward', {
         f'model.roi_head.bbox_head.{stage}.loss_cls': dict(type='mmcausal.SoftmaxFocalLoss', detach_modulator=True)
         for stage in range(3)}),
    ([name for name in HTC if 'v0.5' in name], TANG, 'lvis_old/configs/htc/htc_r101_fpn_20e_causal.py and '
     'htc_x101_64x4d_fpn_20e_16gpu_causal.py: train_pipeline, optimizer_config, lr_config', {
        'train_dataloader.dataset.pipeline.2.type': 'Resize', 'train_dataloader.dataset.pipeline.2.scale': (1333, 800),
        'optim_wrapper.clip_grad': dict(max_norm=35, norm_type=2), 'param_scheduler.0.start_factor': 1 / 3,
        'param_scheduler.0.end': 500}),
    (['lvis/htc_tde_r101_lvis-v0.5'], TANG, 'lvis_old/configs/htc/htc_r101_fpn_20e_causal.py: imgs_per_gpu',
     {'train_dataloader.batch_size': 2}),
    # Losses
    (named('focal', CIFAR10 + CIFAR100), CUI, 'cifar_trainval.sh: 14', {f'{LOSS}.gamma': 1.}),
    (named('focal', CIFAR10 + CIFAR100) + named('class-balanced-focal', CIFAR10 + CIFAR100), CUI,
     'src/cifar_main.py: 349-351; src/model_base.py: 193-196, with the default kernel of tf.layers.dense',
     {f'{HEAD}.init_cfg.type': 'Xavier', **NO_DECAY}),
    (named('focal', CIFAR100) + named('class-balanced-focal', CIFAR100), CUI, 'src/model_base.py: 196',
     {f'{HEAD}.init_cfg.bias_prob': 1 / 100}),
    (named('focal', CIFAR10) + named('class-balanced-focal', CIFAR10), CUI, 'src/model_base.py: 196',
     {f'{HEAD}.init_cfg.bias_prob': 1 / 10}),
    (named('mixup', CIFAR10 + CIFAR100), ZHANG, 'train.py: 39-40; also ' + BAG
     + ' configs/cao_cifar/mixup/input_mixup/*_alpha10.yaml: 33-34',
     {'model.train_cfg.augments': [dict(type='Mixup', alpha=1.)]}),
    (['imagenet_lt/focal_x50_90e'], TANG, 'classification/loss/FocalLoss.py: 22, 27, 32', {
        f'{LOSS}.type': 'mmcausal.SoftmaxFocalLoss', f'{LOSS}.gamma': 2., f'{LOSS}.detach_modulator': True}),
    (['cifar100_lt/class-balanced_r32_ir100', 'cifar100_lt/class-balanced_r32_ir50'], BAG,
     'configs/cao_cifar/re_weighting/cbce/cifar100_im*.yaml: 28', {f'{LOSS}.beta': 0.9}),
    (['cifar10_lt/class-balanced_r32_ir100', 'cifar10_lt/class-balanced_r32_ir50'], BAG,
     'configs/cao_cifar/re_weighting/cbce/cifar10_im*.yaml: 28, 27', {f'{LOSS}.beta': 0.9999}),
    (['cifar100_lt/class-balanced-focal_r32_ir100'], BAG,
     'configs/cao_cifar/re_weighting/cbfocal/cifar100_im100.yaml: 29-30',
     {f'{LOSS}.beta': 0.9, f'{LOSS}.loss.gamma': 1.}),
    (['cifar100_lt/class-balanced-focal_r32_ir50'], BAG,
     'configs/cao_cifar/re_weighting/cbfocal/cifar100_im50.yaml: 29-30',
     {f'{LOSS}.beta': 0.99, f'{LOSS}.loss.gamma': 1.}),
    # Its file is for ratio 50; BAG has gamma 2 there, and 1 for ratio 100
    (named('class-balanced-focal', CIFAR10), CUI,
     'cifar_im_trainval_cb.sh: 7, 16', {f'{LOSS}.beta': 0.9999, f'{LOSS}.loss.gamma': 1.}),
    (named('ldam-drw', CIFAR10 + CIFAR100) + LDAM_SOURCE + ['imagenet_lt/ldam-drw_x50_90e'], CAO,
     'cifar_train.py: 213; losses.py: 25, 45; models/resnet_cifar.py: 42', {
        f'{HEAD}.init_length': 1., f'{HEAD}.tau': 30., f'{LOSS}.loss.scale': 30.}),
    # There after epoch 160, with the first fall of the rate, which is after 120 here
    (named('ldam-drw', CIFAR10 + CIFAR100), CAO, 'cifar_train.py: 200-203', {
        'custom_hooks.4.begin': 120, 'param_scheduler.1.milestones.0': 120}),
    (LDAM_SOURCE, CAO, 'cifar_train.py: 43, 47, 50, 52, 54, 200-203; models/resnet_cifar.py: ResNet_s', {
        'model.backbone.last_blocks': 1, f'{HEAD}.in_channels': 64,
        'train_dataloader.batch_size': 128, 'auto_scale_lr.base_batch_size': 128,
        OPTIMIZER: dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=2e-4), 'train_cfg.max_epochs': 200,
        'custom_hooks.4': dict(type='mmcausal.DeferredReweightingHook', begin=160)}),
    (['imagenet_lt/seesaw_x50_90e', 'cifar100_lt/seesaw_r32_ir100'], SEESAW,
     'mmdet/models/losses/seesaw_loss.py: 108-109', {f'{LOSS}.type': 'SeesawLoss'}),
    (['cifar10_lt/label-aware-smoothing_r32_ir100'], ZHONG, 'config/cifar10/cifar10_imb001_stage2_mislas.yaml: 39-40',
     {f'{LOSS}.head': 0.3, f'{LOSS}.tail': 0.}),
    (['imagenet_lt/label-aware-smoothing_x50_90e'], ZHONG,
     'config/imagenet/imagenet_resnet50_stage2_mislas.yaml: 39-40', {f'{LOSS}.head': 0.3, f'{LOSS}.tail': 0.}),
    # Other classifiers and second stages
    ([f'imagenet_lt/linear-no-bias_{network}' for network in ('x50_90e', 'x101-32x4d_120e')],
     'KaihuaTang/Long-Tailed-Recognition.pytorch@ede423d265',
     'classification/models/DotProductClassifier.py: 24', {f'{HEAD}.classifier.type': 'mmcausal.TDELinear'}),
    (['imagenet_lt/linear-no-bias_x50_90e'], TANG, 'classification/config/ImageNet_LT/cross_entropy.yaml: 12, 13, 18, '
     '19, 24, 33', IMAGENET_RECIPE),
    # The authors publish no config of these rows; the paper has one recipe for all of Table 2 and of Table 7
    ([f'imagenet_lt/{method}_x50_90e' for method in (
        'focal', 'cosine', 'capsule', 'cosine-tde', 'capsule-tde', 'cosine-k2', 'capsule-k2', 'cosine-k2-tde',
        'capsule-k2-tde')], TANG, 'classification/config/ImageNet_LT/cross_entropy.yaml: 12, 13, 18, 19, 24, 33',
     IMAGENET_RECIPE),
    ([f'imagenet_lt/{method}_x101-32x4d_120e' for method in ('linear-no-bias', 'deconfound', 'deconfound-tde')], TANG,
     'classification/config/ImageNet_LT/cross_entropy.yaml: 12, 13, 18, 19, 24, with the epochs of the paper',
     {**IMAGENET_RECIPE, 'train_cfg.max_epochs': 120}),
    (['imagenet_lt/linear_x50_90e', 'imagenet_lt/linear_x101-32x4d_120e', 'imagenet_lt/linear_r50_90e',
      'imagenet_lt/linear_r10_90e', 'inat18/linear_r50_90e'], TANG,
     'classification/models/ResNextFeature.py: 131-133', {'model.backbone.zero_init_residual': False}),
    (['imagenet_lt/linear_x50_90e'], KANG, 'config/ImageNet_LT/feat_uniform.yaml: 1, 8, 15, 21, 27, 34',
     IMAGENET_RECIPE),
    (['imagenet_lt/crt_x50_90e'], KANG, 'config/ImageNet_LT/cls_crt.yaml: 1, 15, 20, 27, 34, 37', {
        **IMAGENET_RECIPE, 'train_cfg.max_epochs': 10,
        'train_dataloader.sampler.type': 'mmcausal.ClassPowerSampler', 'model.type': 'mmcausal.StageTwoClassifier'}),
    # Without the bias; the exponent is chosen there, among 0 to 2 in steps of 0.1 (110), so its figures are not printed
    (['imagenet_lt/tau-norm_x50_90e'], KANG, 'tau_norm.py: 82-86, 96, 102-107',
     {f'{HEAD}.classifier.type': 'mmcausal.TauNormLinear'}),
    (['imagenet_lt/lws_x50_90e'], KANG, 'config/ImageNet_LT/cls_lws.yaml: 1, 15, 27, 34, 37; '
     'models/TauNormClassifier.py: 21-28', {
        **IMAGENET_RECIPE, 'train_cfg.max_epochs': 5, f'{HEAD}.classifier.type': 'mmcausal.LWSLinear',
        'train_dataloader.sampler.type': 'mmcausal.ClassPowerSampler'}),
    (['cifar100_lt/lws_r32_ir100'], TANG, 'classification/config/CIFAR100_LT/cls_lws.yaml: 39',
     {'train_cfg.max_epochs': 5}),
    (['imagenet_lt/ncm-centered_x50_90e'], KANG, 'main.py: 39-40; models/KNNClassifier.py: 16, 47, 51-52', {
        f'{HEAD}.type': 'mmcausal.CenteredHead', f'{HEAD}.classifier.type': 'mmcausal.EuclideanNCMLinear'}),
    # K of the paper's Tables 2 and 7; the authors' code has no config of these rows
    (['imagenet_lt/cosine_x50_90e', 'imagenet_lt/capsule_x50_90e'], 'the paper', 'Tables 2 and 7',
     {f'{HEAD}.num_heads': 1}),
    (['imagenet_lt/cosine-k2_x50_90e', 'imagenet_lt/capsule-k2_x50_90e'], 'the paper', 'Table 7',
     {f'{HEAD}.num_heads': 2}),
    # Whole systems
    (named('bbn', CIFAR10 + CIFAR100), ZHOU, 'configs/cifar*.yaml: 29, 30, 36-38, 41-43, 47-51; lib/utils/utils.py: '
     '44-49; lib/utils/lr_scheduler.py: 10', {
        OPTIMIZER: dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=2e-4, nesterov=True),
        'param_scheduler.0.start_factor': 1 / 3, 'param_scheduler.0.end': 5,
        'param_scheduler.1.milestones': [120, 160], 'param_scheduler.1.gamma': 0.01,
        'train_dataloader.sampler.type': 'mmcausal.TwoBranchSampler',
        'train_dataloader.batch_size': 2 * 128, 'train_cfg.max_epochs': 200}),
]
# Defaults of components: component, its argument, value, source, file: lines
DEFAULTS = [
    ('DeconfoundLinear', 'num_heads', 2, TANG_CLASSIFIER, 'classification/models/CausalNormClassifier.py: 9'),
    ('DeconfoundLinear', 'tau', 16., TANG_CLASSIFIER, 'classification/models/CausalNormClassifier.py: 9'),
    ('DeconfoundLinear', 'gamma', 0.03125, TANG_CLASSIFIER, 'classification/models/CausalNormClassifier.py: 9'),
    ('LDAMLoss', 'max_margin', 0.5, CAO, 'cifar_train.py: 213; losses.py: 25, 28'),
    ('LDAMLoss', 'scale', 30., CAO, 'cifar_train.py: 213; losses.py: 25'),
    ('DeferredReweightingLoss', 'beta', 0.9999, CAO, 'cifar_train.py: 202'),
    ('LabelAwareSmoothingLoss', 'head', 0.4, ZHONG, 'config/cifar100/cifar100_imb001_stage2_mislas.yaml: 39'),
    ('LabelAwareSmoothingLoss', 'tail', 0.1, ZHONG, 'config/cifar100/cifar100_imb001_stage2_mislas.yaml: 40'),
    ('LogitAdjustedLinear', 'tau', 1., MENON, 'logit_adjustment/main.py: 42'),
    ('LogitAdjustedLoss', 'tau', 1., MENON, 'logit_adjustment/main.py: 42'),
    ('OLTRHead', 'centroid_weight', 0.01, LIU, 'config/ImageNet_LT/stage_2_meta_embedding.py: 42'),
]


def get(value, key):
    for part in key.split('.'):
        value = value[int(part)] if part.isdigit() else value[part]
    return value


@pytest.mark.parametrize('config, source, settings', [
    pytest.param(config, f'{source} {lines}', settings, id=config)
    for configs, source, lines, settings in SETTINGS for config in configs])
def test_settings_are_those_of_the_source(config, source, settings):
    cfg = load(ROOT / 'configs' / f'{config}.py')
    for key, value in settings.items():
        got = get(cfg, key)
        assert got == pytest.approx(value) if isinstance(value, float) else got == value, f'{key} in {source}'


@pytest.mark.parametrize('name, argument, value, source, lines', DEFAULTS,
                         ids=[f'{row[0]}-{row[1]}' for row in DEFAULTS])
def test_defaults_are_those_of_the_source(name, argument, value, source, lines):
    default = inspect.signature(getattr(mmcausal, name)).parameters[argument].default
    assert default == value, f'{source} {lines}'


def test_tail_of_the_equalization_loss():
    """Tan et al. take classes in less than 0.00177 of the 57 k images of LVIS v0.5, projects/EQL/eql/cfg.py: 5."""
    tail_below = inspect.signature(mmcausal.EqualizationLoss).parameters['tail_below'].default
    assert tail_below - 1 < 0.00177 * 57e3 < tail_below, TAN


def rates(cfg):
    """Return the learning rate of each epoch, counted from 1, with a warm-up that moves once per epoch."""
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
    return rates


def test_cifar_schedule():
    """Counted from 1, the rate falls at epochs 121 and 161 (in the sources 120 and 160), and is full from epoch 6."""
    cfg = load(ROOT / 'configs' / 'cifar100_lt' / 'linear_r32_ir100.py')
    got = rates(cfg)
    expected = {1: 0.2 / 3, 6: 0.2, 120: 0.2, 121: 2e-3, 160: 2e-3, 161: 2e-5, 200: 2e-5}
    assert {epoch: got[epoch] for epoch in expected} == pytest.approx(expected)
    assert (cfg.train_dataloader.batch_size, cfg.optim_wrapper.optimizer.weight_decay) == (256, 5e-4)


@pytest.mark.parametrize('config', LDAM_SOURCE)
def test_schedule_of_ldams_authors(config):
    """cifar_train.py: adjust_learning_rate, with epochs counted from 1."""
    cfg = load(ROOT / 'configs' / f'{config}.py')
    assert not any(part.get('convert_to_iter_based') for part in cfg.param_scheduler)
    assert rates(cfg) == pytest.approx({
        epoch: 0.1 * (epoch / 5 if epoch <= 5 else 1e-4 if epoch > 180 else 1e-2 if epoch > 160 else 1)
        for epoch in range(1, 201)})


def test_published_accuracies_have_a_config_with_a_source():
    with_source = {config for configs, *_ in SETTINGS for config in configs}
    assert set(PUBLISHED) - with_source == set()
    assert [name for name in PUBLISHED if not (ROOT / 'configs' / f'{name}.py').exists()] == []


def test_recipe_of_a_published_accuracy_is_that_of_its_source():
    """Rate, weight decay, epochs and images per step are in SETTINGS; without a training, those of the first stage."""
    compared = {}
    for configs, _, _, settings in SETTINGS:
        for config in configs:
            compared.setdefault(config, set()).update(settings)
            compared[config].update(f'{OPTIMIZER}.{key}' for key in settings.get(OPTIMIZER, {}))
    recipe = {f'{OPTIMIZER}.lr', f'{OPTIMIZER}.weight_decay', 'train_cfg.max_epochs'}
    for name in PUBLISHED:
        keys = compared[name.replace('ncm-centered', 'linear')]
        assert recipe <= keys and keys & {'train_dataloader.batch_size', 'auto_scale_lr.base_batch_size'}, name
