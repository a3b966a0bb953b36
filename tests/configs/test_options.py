"""Options that change a config: nearly the name of a setting is a mistake, any other new name is not."""
import pytest
from mmengine.config import Config

from mmcausal.config_files import merge_options


@pytest.mark.parametrize('option', [
    'model.head.alpha', 'train_dataloader.batch_size', 'load_from', 'work_dir', 'val_cfg.type', 'custom_hooks',
    'sync_bn', 'tta_model.alpha', 'tta_pipeline', 'model_wrapper_cfg.type', 'find_unused_parameters',
    'compile.backend', 'my_own'])
def test_settings_that_a_config_has_or_may_have(option):
    cfg = Config(dict(model=dict(head=dict(alpha=0)), train_dataloader=dict(batch_size=2), test_cfg={}))
    merge_options(cfg, {option: 1}, 'c.py')
    for name in option.split('.'):
        cfg = cfg[name]
    assert cfg == 1


@pytest.mark.parametrize('option, name', [
    ('modle.head.alpha', 'model'), ('Model.head.alpha', 'model'), ('train_dataloder', 'train_dataloader'),
    ('train_cgf.max_epochs', 'train_cfg'), ('custom_hook', 'custom_hooks'), ('optimwrapper.type', 'optim_wrapper')])
def test_nearly_the_name_of_a_setting(option, name):
    cfg = Config(dict(model=dict(head=dict(alpha=0)), train_dataloader=dict(batch_size=2)))
    before = cfg.to_dict()
    with pytest.raises(ValueError, match=rf'{option} must be a setting of c.py, .*; did you mean .{name}.\?'):
        merge_options(cfg, {option: 1}, 'c.py')
    assert cfg.to_dict() == before
