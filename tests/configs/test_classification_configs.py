"""Every classification config loads, builds, dumps, reloads, and differs from its baseline by the method alone.

The metafiles of all configs are here too: most of the configs are loaded already.
"""
import re
from types import SimpleNamespace

import pytest
import yaml
from helpers.commands import CONFIGS, ROOT
from helpers.configs import changed, load
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal.registry import DATASETS, HOOKS, METRICS, MODELS

LEAVES = sorted(path for path in CONFIGS.rglob('*.py')
                if '_base_' not in path.parts and path.parent.name not in ('lvis', 'shapes_lvis', 'own_data', 'v3det'))
OWN_CLASSIFIERS = sorted(path for path in (CONFIGS / 'own_data').glob('*.py') if 'rcnn' not in path.stem)
HOLDOUT = [path for path in LEAVES if path.stem.endswith('_holdout')]
# Methods with network and recipe of their source, beside those with the recipe of the other configs
SOURCE = [path for path in LEAVES if path.stem.endswith('_source')]
# Classifiers of one family, which differ by their normaliser and by TDE
FAMILY = [path for path in LEAVES if path.stem.split('_')[0].replace('-tde', '') in ('cosine', 'capsule', 'deconfound')]
# The other methods of the tables
OTHERS = {path: path.stem.split('_')[0] for path in LEAVES
          if path not in FAMILY + SOURCE and not path.stem.startswith('linear')}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
HEAD, LOSS, SAMPLER = 'model.head.', 'model.head.loss.', 'train_dataloader.sampler.'
STAGE_TWO = ('load_from', 'model.type', 'model.head.', SAMPLER, 'train_cfg.max_epochs', 'param_scheduler',
             'custom_hooks')
OLTR = ('load_from', 'model.type', 'model.neck', HEAD, SAMPLER, 'optim_wrapper.optimizer.lr', 'train_cfg.max_epochs',
        'param_scheduler', 'custom_hooks')
TEST_ALONE = ('load_from', 'train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', HEAD, 'custom_hooks')
# Keys that each of them may change, or their beginnings
ALLOWED = {
    'focal': (LOSS, HEAD + 'init_cfg', 'optim_wrapper.paramwise_cfg'), 'seesaw': (LOSS, ),
    'class-balanced-focal': (LOSS, HEAD + 'init_cfg', 'optim_wrapper.paramwise_cfg', 'custom_hooks'),
    'mixup': ('model.train_cfg.', ), 'cutmix': ('model.train_cfg.', ),
    'class-aware-sampling': (SAMPLER, ), 'square-root-sampling': (SAMPLER, ), 'progressively-balanced': (SAMPLER, ),
    'tau-norm': TEST_ALONE, 'logit-adjustment': TEST_ALONE, 'deconfound-logit-adjustment': TEST_ALONE,
    'crt': STAGE_TWO, 'lws': STAGE_TWO,
    'ncm': ('load_from', 'model.type', HEAD, 'train_cfg.', 'train_dataloader.d', SAMPLER),
    'ncm-centered': ('load_from', 'model.type', HEAD, 'train_cfg.', 'train_dataloader.d', SAMPLER),
    'oltr': OLTR, 'decouple-oltr': OLTR,
    'bbn': ('model.', 'train_dataloader.batch_size', SAMPLER, 'optim_wrapper.optimizer.', 'auto_scale_lr.',
            'custom_hooks'),
    'ldam': (HEAD, 'custom_hooks', 'scale'), 'ldam-drw': (HEAD, 'custom_hooks', 'scale'),
}


def baseline(path):
    method, setting = path.stem.split('_', 1)
    return path.with_name(f'{"deconfound" if method == "deconfound-logit-adjustment" else "linear"}_{setting}.py')


def loaders(cfg):
    return [cfg[name] for name in LOADERS if cfg[name]]


@pytest.mark.parametrize('path', [*LEAVES, *OWN_CLASSIFIERS], ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_hooks_of_the_package_are_in_every_config(path):
    hooks = [hook.type for hook in load(path).custom_hooks]
    assert hooks[:3] == ['ClassNumCheckHook', 'mmcausal.CheckpointCheckHook', 'mmcausal.ChannelsLastHook']


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_config_loads_builds_dumps_and_reloads(path, tmp_path):
    cfg = Config.fromfile(path)
    assert len(path.read_text().splitlines()) <= 12
    init_default_scope(cfg.default_scope)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    needs_counts = any(hasattr(module, 'set_class_counts') for module in model.modules())
    assert needs_counts == (dict(type='mmcausal.ClassPriorHook') in cfg.custom_hooks)
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    for metric in cfg.test_evaluator:
        METRICS.build(metric)
    for loader in loaders(cfg):
        classes = DATASETS.build(dict(loader.dataset, lazy_init=True)).metainfo['classes']
        assert len(classes) == cfg.model.head.num_classes

    dumped = tmp_path / 'config.py'
    cfg.dump(dumped)
    assert Config.fromfile(dumped).to_dict() == cfg.to_dict()


@pytest.mark.parametrize('path', [path for path in LEAVES if '_ir' in path.stem],
                         ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_classes_are_as_imbalanced_as_the_name_says(path):
    cfg = load(path)
    init_default_scope(cfg.default_scope)
    counts = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True)).metainfo['class_counts']
    ratio = int(re.search(r'_ir(\d+)', path.stem).group(1))
    # With images set aside, the rarest class of CIFAR-100 rounds 4.75 images down to 4.
    assert counts[0] / counts[-1] == pytest.approx(ratio, rel=0.2 if path in HOLDOUT else 0.01)
    assert len(counts) == cfg.model.head.num_classes
    for loader in loaders(cfg):
        assert loader.dataset.imbalance_ratio == ratio


@pytest.mark.parametrize('path', [path for path in LEAVES if re.search(r'_ir(50|10)(_source)?$', path.stem)],
                         ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_less_imbalanced_config_changes_only_the_ratio(path):
    ir100 = path.with_name(re.sub(r'_ir\d+', '_ir100', path.name))
    beta = {'model.head.loss.beta'} if path.parts[-2:] == ('cifar100_lt', 'class-balanced-focal_r32_ir50.py') else set()
    assert changed(path, ir100) == beta | {f'{loader}.dataset.imbalance_ratio' for loader in LOADERS}


@pytest.mark.parametrize('path', OTHERS, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_other_systems_change_only_what_they_are_about(path):
    keys = changed(path, baseline(path))
    allowed = ALLOWED.get(OTHERS[path], (HEAD, 'custom_hooks'))
    assert keys and all(key.startswith(allowed) for key in keys), keys
    if 'load_from' in keys:  # stage one is the baseline, trained to its end, where the host puts it
        epochs = load(baseline(path)).train_cfg.max_epochs
        assert load(path).load_from == f'work_dirs/{baseline(path).stem}/epoch_{epochs}.pth'


@pytest.mark.parametrize('path', [path for path in FAMILY if path not in HOLDOUT],
                         ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_config_differs_from_its_baseline_by_the_method(path):
    allowed = {'model.head.type', 'custom_hooks'}
    if '-tde' in path.stem:
        allowed.add('model.head.alpha')
    if 'x101' in path.stem:  # the paper's setting for the bigger backbone
        allowed |= {'model.head.num_heads', 'model.head.gamma'}
    if path.stem.startswith(('cosine', 'capsule')):
        allowed |= {'model.head.normalizer', 'model.head.num_heads'}  # K = 1 in the paper's Table 2
        assert load(path).model.head.num_heads == 1
    assert changed(path, baseline(path)) == allowed
    assert load(path).custom_hooks == load(baseline(path)).custom_hooks + [dict(type='mmcausal.HeadDirectionHook')]


@pytest.mark.parametrize('network', ['x50_90e', 'x101-32x4d_120e'])
def test_linear_classifier_of_the_paper_has_no_bias(network):
    path = CONFIGS / 'imagenet_lt' / f'linear-no-bias_{network}.py'
    assert changed(path, baseline(path)) == {'model.head.type', 'model.head.classifier.type'}
    cfg = load(path)
    init_default_scope(cfg.default_scope)
    assert MODELS.build(cfg.model.head).fc.bias is None


@pytest.mark.parametrize('path', [path for path in LEAVES if '-k2' in path.stem], ids=lambda path: path.stem)
def test_table_seven_differs_from_table_two_by_the_heads(path):
    assert changed(path, path.with_name(path.name.replace('-k2', ''))) == {'model.head.num_heads'}
    assert load(path).model.head.num_heads == 2


@pytest.mark.parametrize('path', HOLDOUT, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_holdout_validates_on_training_images(path):
    cfg, original = load(path), path.with_name(path.name.replace('_holdout', ''))
    per_class = {f'{loader}.dataset.val_per_class' for loader in LOADERS}
    assert changed(path, original) == per_class | {'val_dataloader.dataset.split'}
    assert cfg.val_dataloader.dataset.split == 'val' and cfg.test_dataloader.dataset.split == 'test'
    assert len({cfg[loader].dataset.val_per_class for loader in LOADERS}) == 1


@pytest.mark.parametrize('path', SOURCE, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_config_with_the_recipe_of_its_source_keeps_the_method(path):
    assert changed(path, path.with_name(path.name.replace('_source', ''))) == {
        'model.backbone.last_blocks', 'model.head.in_channels', 'train_dataloader.batch_size',
        'optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay', 'param_scheduler', 'custom_hooks',
        'auto_scale_lr.base_batch_size'}


def test_metafiles_list_every_config_once():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    contents = [yaml.safe_load((ROOT / file).read_text()) for file in index]
    models = [model for content in contents for model in content['Models']]
    collections = {collection['Name'] for content in contents for collection in content.get('Collections', [])}
    leaves = {str(path.relative_to(ROOT)) for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts}
    assert sorted(model['Config'] for model in models) == sorted(leaves)
    assert len({model['Name'] for model in models}) == len(models)
    assert {model['In Collection'] for model in models} == collections


def test_metafiles_are_as_the_script_writes_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    import write_metafiles
    monkeypatch.setattr(write_metafiles, 'Config', SimpleNamespace(fromfile=load))
    assert not write_metafiles.find_outdated(), 'run tools/write_metafiles.py'
