"""The comparison of methods: shared trainings, stages in order, scaled schedules, nothing done twice."""
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.commands import ROOT
from helpers.runners import shapes_cfg
from mmengine.config import Config
from mmengine.runner import Runner

BASE = f"_base_ = '{ROOT}/configs/digits_lt/linear_small_ir100.py'\n"
CONFIGS = {
    'linear': '',
    'deconfound': "model = dict(head=dict(type='mmcausal.DeconfoundHead'))\n"
                  "custom_hooks = [dict(type='mmcausal.HeadDirectionHook')]\n",
    'deconfound-tde': "model = dict(head=dict(type='mmcausal.DeconfoundHead', alpha=1.))\n"
                      "custom_hooks = [dict(type='mmcausal.HeadDirectionHook')]\n",
    'crt': "load_from = 'work_dirs/linear/epoch_60.pth'\nmodel = dict(type='mmcausal.StageTwoClassifier')\n"
           "train_cfg = dict(max_epochs=1)\ncustom_hooks = [dict(type='mmcausal.RestartClassifierHook')]\n",
    'tau-norm': "load_from = 'work_dirs/linear/epoch_60.pth'\n"
                'train_cfg = train_dataloader = optim_wrapper = param_scheduler = None\n'
                "classifier = dict(type='mmcausal.TauNormLinear')\n"
                "model = dict(head=dict(type='mmcausal.ClassifierHead', classifier=classifier))\n",
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """The tool on small configs, with its runs in this process; ``table.call`` returns them."""
    for name, text in CONFIGS.items():
        (tmp_path / f'{name}.py').write_text(BASE + text)
    tool = runpy.run_path(str(ROOT / 'tools' / 'compare_methods.py'))
    runs = []

    def run(script, config, arguments, work_dir, args):
        cfg = Config.fromfile(config)
        cfg.work_dir, cfg.experiment_name = str(work_dir), f'{config}_{len(runs)}'
        runs.append((script, cfg))
        if script == 'train':
            Runner.from_cfg(cfg).train()
        else:
            cfg.load_from = str(arguments[0])
            Runner.from_cfg(cfg).test()

    own, tool['train'].__globals__['run'] = tool['run'], run

    def call(*arguments):
        runs.clear()
        monkeypatch.setattr(sys, 'argv', ['table.py', *map(str, arguments), '--work-dir', str(tmp_path / 'runs')])
        tool['main']()
        return list(runs)

    def by_processes(*arguments):
        tool['train'].__globals__['run'] = own
        call(*arguments)

    return SimpleNamespace(call=call, by_processes=by_processes, folder=tmp_path, tool=tool)


def test_rows_of_one_protocol(table):
    out = table.folder / 'results' / 'table.json'
    configs = [table.folder / f'{name}.py' for name in ('tau-norm', 'crt', 'linear', 'deconfound', 'deconfound-tde')]
    runs = table.call(*configs, '--seeds', 0, 1, '--epochs', 3, '--out', out)
    trained = [cfg for script, cfg in runs if script == 'train']
    # for each seed: linear before its second stages, cRT, and one training with and without TDE
    assert len(trained) == 6 and len(runs) - len(trained) == 10
    assert [cfg.train_cfg.max_epochs for cfg in trained] == [3, 3, 1, 1, 3, 3]
    assert trained[0].param_scheduler.T_max == 3  # 60 of 60 epochs
    assert trained[2].load_from.endswith('epoch_3.pth') and str(table.folder / 'runs') in trained[2].load_from

    content = json.loads(out.read_text())
    assert content['command'].startswith('python table.py') and content['commit'] and 'CPU' in content['machine']
    rows = {Path(row['config']).name: row for row in content['rows']}
    assert content['epochs'] == 3 and all(len(row['results']) == 2 for row in rows.values())
    overall = [result['overall'] for result in rows['linear']['results']]
    line = next(line for line in out.with_suffix('.md').read_text().splitlines() if '/linear`' in line)
    assert f'{np.mean(overall):.1f} ± {np.std(overall, ddof=1):.1f}' in line
    assert rows['deconfound']['results'] != rows['deconfound-tde']['results']

    assert table.call(*configs, '--seeds', 0, 1, '--epochs', 3) == []  # nothing twice
    again = table.call(configs[2], '--epochs', 2)  # other epochs, another run
    assert [script for script, _ in again] == ['train', 'test']


def test_detectors_have_precisions_and_share_a_training(table, shapes):
    for name, alpha in (('cascade_deconfound_r18', 0.), ('cascade_tde_r18', 1.)):
        cfg = shapes_cfg('cascade_tde_r18', shapes, table.folder)
        cfg.model.roi_head.classifier.alpha = alpha
        cfg.dump(table.folder / f'{name}.py')
    out = table.folder / 'detectors.json'
    table.by_processes(*(table.folder / f'cascade_{name}_r18.py' for name in ('deconfound', 'tde')), '--out', out)
    assert len(list((table.folder / 'runs').glob('*/train.log'))) == 1
    assert len(list((table.folder / 'runs').glob('*/test_*/test.log'))) == 2
    header = out.with_suffix('.md').read_text().splitlines()[0]
    assert header.startswith('| config | mask AP | mask AP50 |') and header.endswith('| box AP | published |')
    for row in json.loads(out.read_text())['rows']:
        result, = row['results']
        assert 0 <= result['mask AP'] <= result['mask AP50'] <= 100 and 'overall' not in result


def test_epochs_of_a_schedule_are_scaled(table):
    cfg = Config.fromfile(ROOT / 'configs' / 'cifar100_lt' / 'ldam-drw_r32_ir100.py')
    assert cfg.param_scheduler[1].milestones == [120, 160]
    args = SimpleNamespace(cfg_options={}, epochs=30)
    scaled = table.tool['load_config'](ROOT / 'configs' / 'cifar100_lt' / 'ldam-drw_r32_ir100.py', 0, args)
    assert scaled.train_cfg.max_epochs == 30 and scaled.param_scheduler[1].milestones == [18, 24]
    assert scaled.param_scheduler[0].end == 1 and scaled.custom_hooks[-1].begin == 18
    progressive = ROOT / 'configs' / 'cifar100_lt' / 'progressively-balanced_r32_ir100.py'
    assert table.tool['load_config'](progressive, 0, args).train_dataloader.sampler.max_epochs == 30
    stage_two = table.tool['load_config'](ROOT / 'configs' / 'cifar100_lt' / 'crt_r32_ir100.py', 0, args)
    assert stage_two.train_cfg.max_epochs == 10


def test_a_classifier_by_processes(table):
    out = table.folder / 'digits.json'
    table.by_processes(table.folder / 'linear.py', '--epochs', 1, '--out', out)
    row, = json.loads(out.read_text())['rows']
    assert row['results'][0].keys() >= {'many', 'medium', 'few', 'overall', 'seed', 'run', 'trained'}


def test_configs_are_read_before_the_first_training(table):
    broken = {'no-base': "_base_ = 'nowhere.py'\n", 'by-iterations': BASE + "train_cfg = dict(_delete_=True, type="
              "'IterBasedTrainLoop', max_iters=4)\n", 'without-first-stage': BASE + CONFIGS['tau-norm'].replace(
                  'work_dirs/linear/', 'work_dirs/elsewhere/')}
    words = ['no-base.py must be a config', 'by-iterations.py must train by epochs, but has train_cfg.max_iters=4',
             "is no config of a first stage for load_from='work_dirs/elsewhere/epoch_60.pth'"]
    for (name, text), part in zip(broken.items(), words):
        (table.folder / f'{name}.py').write_text(text)
        with pytest.raises(ValueError, match=part):
            table.call(table.folder / 'linear.py', table.folder / f'{name}.py', '--epochs', 1)
        assert not list((table.folder / 'runs').glob('*'))


def test_a_row_that_fails_leaves_the_others(table):
    (table.folder / 'damaged.py').write_text(BASE + "load_from = 'damaged.pth'\n")
    out = table.folder / 'table.json'
    with pytest.raises(SystemExit):
        table.by_processes(table.folder / 'damaged.py', table.folder / 'linear.py', '--epochs', 1, '--out', out)
    content = json.loads(out.read_text())
    assert [len(row['results']) for row in content['rows']] == [0, 1] and len(content['failures']) == 1


@pytest.mark.parametrize('arguments, words', [
    (['nowhere.py'], 'no such config: nowhere.py'),
    ([__file__, '--epochs', '0'], 'epochs must be at least 1, but got 0'),
    ([__file__, '--launcher', 'slurm'], 'slurm needs --partition'),
])
def test_bad_arguments(table, capsys, arguments, words):
    with pytest.raises(SystemExit):
        table.call(*arguments)
    assert words in capsys.readouterr().err


EIGHT = {'optim_wrapper.accumulative_counts': 8}
SIXTEEN = {'train_dataloader.batch_size': 16}


@pytest.mark.parametrize('config, options, epochs, accuracy', [
    ('cifar100_lt/deconfound-tde_r32_ir100', {}, None, 44.1),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'train_dataloader.dataset.data_root': 'elsewhere'}, 200, 44.1),
    ('cifar100_lt/linear_r32_ir100', {}, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {}, 30, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'model.head.num_heads': 1}, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'optim_wrapper.optimizer.lr': 0.1}, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', EIGHT, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'optim_wrapper.type': 'mmcausal.CPUAmpOptimWrapper'}, None, 44.1),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'optim_wrapper.type': 'AmpOptimWrapper'}, None, 44.1),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'optim_wrapper.type': 'ApexOptimWrapper'}, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'optim_wrapper.clip_grad.max_norm': 1.}, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'default_hooks.checkpoint.interval': 5}, None, 44.1),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'model.backbone.init_cfg.checkpoint': 'weights.pth'}, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'model.head.alpha': 1.}, None, None),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'model.head.alpha': 1.5}, None, 44.1),  # as it is
    ('cifar100_lt/deconfound-tde_r32_ir100', {'test_dataloader.dataset.split': 'train'}, None, None),
    ('imagenet_lt/focal_x50_90e', {}, None, None),  # 64 images per step on one GPU, not 512
    ('imagenet_lt/focal_x50_90e', EIGHT, None, '64.3 / 37.1 / 8.2 / 43.7'),
    ('imagenet_lt/ncm-centered_x50_90e', EIGHT, None, '56.6 / 45.3 / 28.1 / 47.3'),
    ('cifar100_lt/deconfound-tde_r32_ir100', {'load_from': 'weights.pth'}, None, None),
    ('imagenet_lt/ncm-centered_x50_90e', {}, None, None),  # because of its first stage
    ('imagenet_lt/tau-norm_x50_90e', EIGHT, None, None),  # its source chooses the exponent
    ('cifar100_lt/focal_r32_ir100', {}, None, None),  # its source has another recipe and network
    ('cifar100_lt/class-balanced-focal_r32_ir100', {}, None, None),
    ('cifar100_lt/mixup_r32_ir100', {}, None, None),
    ('cifar100_lt/ldam-drw_r32_ir100', {}, None, None),
    ('cifar100_lt/ldam-drw_r32_ir100_source', {}, None, 42.0),
    ('cifar100_lt/ldam-drw_r32_ir100_source', {'model.backbone.last_blocks': 2, 'model.head.in_channels': 128}, None,
     None),
    ('imagenet_lt/focal_x50_90e', {'train_dataloader.batch_size': 512}, None, None),  # batch norms of 512, not of 64
    ('lvis/htc_tde_r101', SIXTEEN, None, '27.1 / 40.1 / 28.7 / 16.0 / 26.9 / 32.1 / 30.0'),
    ('lvis/htc_tde_r101', {}, None, None),
    ('lvis/htc_tde_r101', EIGHT, None, None),  # its warm-up would end after 62 steps instead of 500
    ('lvis/cascade_tde_r101', SIXTEEN, None, None),  # the authors' configs are HTC
])
def test_published_accuracy_stands_beside_its_own_setting_only(config, options, epochs, accuracy):
    published = runpy.run_path(str(ROOT / 'tools' / 'compare_methods.py'))['published']
    args = SimpleNamespace(cfg_options=options, epochs=epochs)
    assert published(ROOT / 'configs' / f'{config}.py', args) == accuracy


LDAM, NCM, LINEAR = (
    'cifar100_lt/ldam-drw_r32_ir100_source', 'imagenet_lt/ncm-centered_x50_90e', 'imagenet_lt/linear_x50_90e')


@pytest.mark.parametrize('changes, options, accuracy', [
    ({LDAM: ''}, {}, 42.0),
    ({LDAM: "train_dataloader = dict(dataset=dict(data_root='elsewhere'), num_workers=8)"}, {}, 42.0),
    ({LDAM: 'default_hooks = dict(checkpoint=dict(interval=50))'}, {}, 42.0),
    ({LDAM: 'optim_wrapper = dict(optimizer=dict(lr=0.2))'}, {}, None),
    ({LDAM: 'model = dict(head=dict(loss=dict(beta=0.9)))'}, {}, None),
    ({LDAM: 'train_dataloader = dict(batch_size=256)'}, {}, None),
    ({LDAM: 'train_dataloader = dict(dataset=dict(imbalance_ratio=50))'}, {}, None),
    ({LDAM: 'train_cfg = dict(max_epochs=400)'}, {}, None),
    ({LDAM: 'default_hooks = dict(average=dict(type="EMAHook"))'}, {}, None),
    ({NCM: '', LINEAR: ''}, EIGHT, '56.6 / 45.3 / 28.1 / 47.3'),
    ({NCM: "model = dict(head=dict(classifier=dict(type='mmcausal.NCMLinear')))", LINEAR: ''}, EIGHT, None),
    ({NCM: '', LINEAR: 'optim_wrapper = dict(optimizer=dict(lr=0.1))'}, EIGHT, None),  # its first stage
])
def test_published_accuracy_does_not_stand_beside_a_changed_file(tmp_path, changes, options, accuracy):
    for name, change in changes.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f'{name}.py').write_text(f"_base_ = '{ROOT}/configs/{name}.py'\n{change}\n")
    published = runpy.run_path(str(ROOT / 'tools' / 'compare_methods.py'))['published']
    args = SimpleNamespace(cfg_options=options, epochs=None)
    assert published(tmp_path / f'{next(iter(changes))}.py', args) == accuracy


def test_table_shows_a_published_figure_or_an_empty_cell():
    tool = runpy.run_path(str(ROOT / 'tools' / 'compare_methods.py'))
    rows = [dict(config='b', results=[dict(overall=40., seed=0)], published=44.1),
            dict(config='c', results=[dict(overall=40., seed=0)], published=None)]
    assert [line.split('|')[-2].strip() for line in tool['markdown'](rows).splitlines()[2:]] == ['44.1', '']


def test_every_published_accuracy_is_shown_in_its_own_setting():
    tool = runpy.run_path(str(ROOT / 'tools' / 'compare_methods.py'))
    one_gpu = dict(imagenet_lt=EIGHT, lvis=SIXTEEN)
    for name, row in tool['PUBLISHED'].items():
        path = ROOT / 'configs' / f'{name}.py'
        own = SimpleNamespace(cfg_options={}, epochs=None)
        changed = (f'The setting of {name} has changed. If it is still that of the source (SETTINGS in '
                   'tests/configs/test_sources.py), enter the new hash in tools/published.json')
        assert tool['setting'](path, own) == row['setting'], changed
        args = SimpleNamespace(cfg_options=one_gpu.get(name.split('/')[0], {}), epochs=None)
        assert tool['published'](path, args) == row['accuracy'], name


def test_schedules_and_hooks_of_the_hosts_are_scaled(table):
    (table.folder / 'hosts.py').write_text(BASE + """
param_scheduler = [dict(type='StepLR', step_size=20),
                   dict(type='CosineRestartLR', periods=[30, 30], eta_min=0., restart_weights=[1, 1])]
custom_hooks = [dict(type='mmpretrain.SwitchRecipeHook', schedule=[dict(action_epoch=40, train_pipeline=[])]),
                dict(type='EMAHook', begin_epoch=30)]
""")
    args = SimpleNamespace(cfg_options={}, epochs=6)
    cfg = table.tool['load_config'](table.folder / 'hosts.py', 0, args)
    assert cfg.train_cfg.max_epochs == 6 and cfg.param_scheduler[0].step_size == 2
    assert cfg.param_scheduler[1].periods == [3, 3]
    assert cfg.custom_hooks[0].schedule[0].action_epoch == 4 and cfg.custom_hooks[1].begin_epoch == 3


def test_a_start_from_weights_is_no_second_stage(table):
    """Fine-tuning is a training of its own, unless the config of a first stage is beside it."""
    (table.folder / 'fine-tuning.py').write_text(BASE + "load_from = 'somewhere/backbone.pth'\n")
    args = SimpleNamespace(cfg_options={}, epochs=6)
    for name, epochs in (('fine-tuning', 6), ('crt', 1)):
        assert table.tool['load_config'](table.folder / f'{name}.py', 0, args).train_cfg.max_epochs == epochs


def test_a_config_may_lack_schedule_and_hooks_and_have_randomness(table):
    (table.folder / 'flat.py').write_text(BASE + 'param_scheduler = custom_hooks = None\n'
                                          'randomness = dict(seed=7, deterministic=True)\n')
    args = SimpleNamespace(cfg_options={'randomness.diff_rank_seed': True}, epochs=6)
    cfg = table.tool['load_config'](table.folder / 'flat.py', 3, args)
    assert cfg.train_cfg.max_epochs == 6
    assert cfg.randomness == dict(seed=3, deterministic=True, diff_rank_seed=True)


def test_an_option_gives_a_value_to_a_setting_without_one(table):
    """Only what is inside a part that a config lacks is left out, such as the data of a config without training."""
    (table.folder / 'none.py').write_text(BASE + 'load_from = None\nparam_scheduler = None\n')
    args = SimpleNamespace(cfg_options={'load_from': 'weights.pth', 'param_scheduler.gamma': 0.1}, epochs=None)
    cfg = table.tool['load_config'](table.folder / 'none.py', 0, args)
    assert cfg.load_from == 'weights.pth' and cfg.param_scheduler is None


def test_checkpoints_have_the_names_of_the_hook(table):
    (table.folder / 'padded.py').write_text(
        BASE + "default_hooks = dict(checkpoint=dict(filename_tmpl='epoch_{:03d}.pth', out_dir=None))\n")
    runs = table.call(table.folder / 'padded.py', '--epochs', 1)
    assert [script for script, _ in runs] == ['train', 'test'] and runs[1][1].load_from.endswith('epoch_001.pth')
    for name, setting in (('elsewhere', "out_dir='elsewhere'"), ('iterations', 'by_epoch=False')):
        (table.folder / f'{name}.py').write_text(BASE + f'default_hooks = dict(checkpoint=dict({setting}))\n')
        with pytest.raises(ValueError, match='CheckpointHook must save epochs in the folder of the training'):
            table.call(table.folder / f'{name}.py', '--epochs', 1)


def test_a_test_without_the_metrics_of_the_table_is_an_error(table, capsys):
    (table.folder / 'prefix.py').write_text(BASE + "test_evaluator = [dict(type='mmcausal.ShotAccuracy', prefix='own')]"
                                            '\n')
    with pytest.raises(SystemExit):
        table.call(table.folder / 'prefix.py', '--epochs', 1)
    output = ''.join(capsys.readouterr())
    assert 'must report one of shot/many' in output and 'own/overall' in output
