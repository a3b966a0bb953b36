"""Fine-tuning from checkpoints of other classes, and tests with them, in a real Runner."""
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.commands import BASELINE
from helpers.data import write_image
from helpers.noise import noise_cfg, noise_runner
from helpers.runners import baseline_cfg
from mmengine.runner import Runner
from mmpretrain import ImageClassificationInferencer

from mmcausal.analysis import quiet_runner
from mmcausal.analysis.trained import check_names, load_classifier
from mmcausal.hooks import CheckpointCheckHook
from mmcausal.models import TDEClassifierTTA

LEFT_OUT = 'has another classifier, so its class weights and head direction are left out: head.fc.weight has shape'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A de-confounded and a linear classifier of six classes after three steps: their checkpoints."""
    work_dir = tmp_path_factory.mktemp('trained')
    noise_runner(work_dir / 'tde', 'abcdef').train()
    noise_runner(work_dir / 'linear', 'abcdef', BASELINE).train()
    return SimpleNamespace(tde=str(work_dir / 'tde/epoch_1.pth'), linear=str(work_dir / 'linear/epoch_1.pth'))


def warnings_of(runner):
    """Return a list that collects the warnings that a Runner logs."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    runner.logger.addHandler(handler)
    return messages


def two_lines(cfg):
    """Leave the hooks of README's diff alone."""
    cfg.custom_hooks = [dict(type='mmcausal.HeadDirectionHook')]
    return Runner.from_cfg(cfg)


@pytest.mark.parametrize('classes, changes', [
    ('abcd', {}),
    ('abcdefgh', {'model.head.num_heads': 4, 'model.head.normalizer': 'cosine'}),
    ('abcdefgh', {'custom_hooks': [dict(type='mmcausal.HeadDirectionHook', keep_direction=True)]}),
    ('abcd', {'custom_hooks': [dict(type='mmcausal.HeadDirectionHook'), dict(type='EMAHook', strict_load=False)]}),
])
def test_fine_tuning_on_fewer_and_more_classes(trained, tmp_path, classes, changes):
    runner = noise_runner(tmp_path, classes, load_from=trained.tde, **changes)
    messages = warnings_of(runner)
    start = {}

    def remember(model, args):
        start.setdefault('direction', runner.model.head.fc.mean_feature.clone())
        start.setdefault('backbone', {name: value.clone() for name, value in model.backbone.state_dict().items()})

    runner.model.register_forward_pre_hook(remember)
    runner.train()
    assert [LEFT_OUT in message for message in messages].count(True) == 1
    assert f'head.fc.weight has shape ({len(classes)}, 256) here, but (6, 256) in the checkpoint' in str(messages)
    assert not start['direction'].any() and runner.model.head.fc.num_updates == len(classes) // 2
    saved = torch.load(trained.tde, weights_only=False)['state_dict']
    assert all(torch.equal(value, saved[f'backbone.{name}']) for name, value in start['backbone'].items()
               if 'num_batches' not in name)
    # The checkpoint that was refused for a test is no matter any more after training
    assert 'accuracy/top1' in runner.test()


def test_fine_tuning_with_other_channels(trained, tmp_path):
    saved = torch.load(trained.tde, weights_only=False)
    for name in ('weight', 'mean_feature'):
        saved['state_dict'][f'head.fc.{name}'] = torch.ones_like(saved['state_dict'][f'head.fc.{name}'])[..., :128]
    torch.save(saved, tmp_path / 'narrow.pth')
    runner = noise_runner(tmp_path, 'abcdef', load_from=str(tmp_path / 'narrow.pth'))
    messages = warnings_of(runner)
    runner.train()
    assert LEFT_OUT in str(messages) and runner.model.head.fc.num_updates == 3


def test_fine_tuning_on_as_many_other_classes(trained, tmp_path):
    runner = noise_runner(tmp_path, 'abcxyz', load_from=trained.tde)
    messages = warnings_of(runner)
    runner.train()
    told = [message for message in messages if 'other names' in message]
    assert told == ["3 of 6 classes have other names in the checkpoint, and the training starts from their class "
                    "weights: class 3 is 'x' here, but 'd' in the checkpoint; class 4 is 'y' here, but 'e' in the "
                    "checkpoint; class 5 is 'z' here, but 'f' in the checkpoint"]


@pytest.mark.parametrize('config, kind', [(None, 'tde'), (BASELINE, 'linear'), (BASELINE, 'tde')])
@pytest.mark.parametrize('mode', ['test', 'val'])
def test_a_test_with_other_classes_is_refused(trained, tmp_path, config, kind, mode):
    args = [config] if config else []
    runner = noise_runner(tmp_path, 'abcd', *args, load_from=getattr(trained, kind))
    runner.model.forward = None  # refused before the first image
    with pytest.raises(ValueError, match=r'not one of this ImageClassifier: head.fc.weight has shape \(4, 256\) here, '
                       r'but \(6, 256\) in the checkpoint. You can fine-tune'):
        getattr(runner, mode)()


def test_two_lines_are_enough_and_wrappers_are_checked_too(trained, tmp_path):
    with pytest.raises(ValueError, match=r'shape \(4, 256\) here, but \(6, 256\) in the checkpoint. You can fine-tune'):
        two_lines(noise_cfg(tmp_path / 'a', 'abcd', load_from=trained.tde)).test()
    cfg = noise_cfg(tmp_path / 'b', 'abcd', BASELINE, load_from=trained.tde)
    cfg.model = dict(type='mmcausal.TDEClassifierTTA', module=cfg.model, alpha=1.)
    runner = Runner.from_cfg(cfg)
    assert isinstance(runner.model, TDEClassifierTTA)
    with pytest.raises(ValueError, match=r'not one of this TDEClassifierTTA: head.fc.weight has shape \(4, 256\)'):
        runner.test()
    cfg.custom_hooks, cfg.experiment_name = [], 'no_hook'
    with pytest.raises(ValueError, match=r'not one of this classifier: head.fc.weight has shape \(4, 256\)'):
        Runner.from_cfg(cfg).test()


def test_a_checkpoint_without_the_classifier_is_refused_for_a_test_alone(trained, tmp_path):
    state = torch.load(trained.tde, weights_only=False)['state_dict']
    torch.save({f'module.{name}': value for name, value in state.items() if 'head' not in name}, tmp_path / 'body.pth')
    runner = noise_runner(tmp_path / 'a', 'abcd', load_from=str(tmp_path / 'body.pth'))
    with pytest.raises(ValueError, match=r'head.fc.weight has shape \(4, 256\) here, but is not in the checkpoint'):
        runner.test()
    messages = warnings_of(runner)
    runner.train()  # its weights are loaded already
    assert LEFT_OUT not in str(messages) and runner.model.head.fc.num_updates == 2


def test_class_names_of_a_test(trained, tmp_path):
    with pytest.raises(ValueError, match="must have the labels of this Noise, but 'c' is class 1 here, but class 2 in "
                       "the checkpoint; 'b' is class 2 here"):
        noise_runner(tmp_path / 'a', 'acbdef', load_from=trained.tde).test()
    runner = noise_runner(tmp_path / 'b', 'abcxyz', load_from=trained.tde)
    messages = warnings_of(runner)
    runner.test()
    told = [message for message in messages if 'other names' in message]
    assert len(told) == 1 and told[0].startswith('3 of 6 classes have other names in the checkpoint, and the results')
    runner = noise_runner(tmp_path / 'c', 'ABCDEF', load_from=trained.tde)
    messages = warnings_of(runner)
    runner.test()
    assert 'names' not in str(messages)


def test_a_training_that_goes_on_has_the_data_of_before(trained, tmp_path):
    """MMEngine compares the pickled meta information, and warns of others."""
    runner = noise_runner(tmp_path, 'abcdef', load_from=trained.tde, resume=True, **{'train_cfg.max_epochs': 2})
    messages = warnings_of(runner)
    runner.train()
    assert runner.epoch == 2 and 'metainfo' not in str(messages)
    for epochs in (1, 2):  # on data with class counts of their own kind
        cfg = baseline_cfg(tmp_path / 'digits', epochs)
        cfg.resume, cfg.experiment_name = True, f'digits_{epochs}'
        runner = Runner.from_cfg(cfg)
        messages = warnings_of(runner)
        runner.train()
    assert runner.iter == 2 * len(runner.train_dataloader) and 'metainfo' not in str(messages)
    runner = noise_runner(tmp_path / 'other', 'abcdeg', load_from=trained.tde, resume=True,
                          **{'train_cfg.max_epochs': 2})
    messages = warnings_of(runner)
    runner.train()
    assert 'metainfo from the resumed checkpoint is different' in str(messages)


def test_a_training_goes_on_with_its_own_classes_alone(trained, tmp_path):
    runner = noise_runner(tmp_path, 'abcd', load_from=trained.tde, resume=True, **{'train_cfg.max_epochs': 2})
    with pytest.raises(ValueError, match=r'\(4, 256\) here, but \(6, 256\) in the checkpoint. A training goes on with'):
        runner.train()


def test_inferencers_and_tools_refuse_as_well(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = noise_cfg(tmp_path, 'abcd')
    cfg.test_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile', color_type='grayscale'),
                                            dict(type='PackInputs')]
    inferencer = ImageClassificationInferencer(cfg, pretrained=trained.tde)
    inferencer.show_progress = False  # its display would outlive the error
    with pytest.raises(ValueError, match=r'not one of this classifier: head.fc.weight has shape \(4, 256\) here'):
        inferencer(np.zeros((8, 8, 1), np.uint8))

    for config in ('tde', 'linear'):
        args = [BASELINE] if config == 'linear' else []
        noise_cfg(tmp_path, 'abcd', *args).dump(tmp_path / f'{config}.py')
        runner = quiet_runner(str(tmp_path / f'{config}.py'), trained.linear, name=config)
        with pytest.raises(ValueError, match=r'head.fc.weight has shape \(4, 256\) here, but \(6, 256\)'):
            load_classifier(runner)
    noise_cfg(tmp_path, 'fedcba').dump(tmp_path / 'reversed.py')
    runner = quiet_runner(str(tmp_path / 'reversed.py'), trained.tde, name='reversed')
    load_classifier(runner)
    with pytest.raises(ValueError, match="'f' is class 0 here, but class 5 in the checkpoint"):
        check_names(runner, runner.test_dataloader.dataset)


@pytest.mark.parametrize('members, words', [
    ([dict(classes=('a', 'b'), size=1), dict(classes=('a', 'b'), size=2)], 'must have the labels'),
    ([dict(classes=('a', 'b')), dict(classes=('a', 'c'))], None), ([{}, dict(size=2)], None),
])
def test_names_of_concatenated_data_with_other_metainfo(members, words):
    """MMDetection keeps a list of them, in the dataset and in checkpoints."""
    hook = CheckpointCheckHook()
    runner = SimpleNamespace(model=torch.nn.Linear(2, 2), hooks=[hook])
    hook.after_load_checkpoint(runner, dict(state_dict={}, meta=dict(dataset_meta=members)))
    hook.check_names(runner, SimpleNamespace(metainfo=members))
    if words:
        with pytest.raises(ValueError, match=words):
            hook.check_names(runner, SimpleNamespace(metainfo=dict(classes=('b', 'a'))))


def test_a_validation_folder_without_a_class_is_refused_before_training(tmp_path):
    """The host numbers the folders that are there, so the labels behind the missing one are others."""
    for split, names in (('train', 'abc'), ('val', 'ac')):
        for name in names:
            write_image(tmp_path / split / name / '0.png', size=8)
    cfg = noise_cfg(tmp_path / 'work', 'abc')
    folder = dict(_delete_=True, type='CustomDataset', data_root=str(tmp_path), pipeline=[
        dict(type='LoadImageFromFile', color_type='grayscale'), dict(type='PackInputs')])
    cfg.merge_from_dict(dict(train_dataloader=dict(dataset=dict(folder, data_prefix='train')),
                             val_dataloader=dict(dataset=dict(folder, data_prefix='val'))))
    with pytest.raises(ValueError, match="the training data must have the labels of this CustomDataset, but 'c' is "
                                         'class 1 here, but class 2 in the training data'):
        two_lines(cfg).train()
