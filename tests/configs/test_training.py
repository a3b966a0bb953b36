"""A few iterations of the paper's recipe on real images."""
import pytest
import torch
from helpers.commands import CONFIGS
from helpers.data import CIFAR100_MD5
from mmengine.config import Config
from mmengine.runner import Runner


@pytest.mark.parametrize('name', ['linear', 'deconfound-tde'])
def test_a_few_iterations_on_cifar(cifar100_root, tmp_path, name):
    cfg = Config.fromfile(CONFIGS / 'cifar100_lt' / f'{name}_r32_ir100.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        # The 10847 training images are in the order of their classes: a few of them all
        loader.dataset.update(data_root=str(cifar100_root), md5=CIFAR100_MD5, indices=list(range(0, 10000, 79)))
        loader.update(batch_size=64, num_workers=0, persistent_workers=False)
    cfg.merge_from_dict({'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 2, 'randomness.seed': 0,
                         'default_hooks.logger.interval': 1})
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    runner = Runner.from_cfg(cfg)
    runner.train()

    labels = {runner.train_dataloader.dataset.get_data_info(index)['gt_label'] for index in range(127)}
    assert len(labels) == 49
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == 4 and torch.tensor(losses).isfinite().all()
    metrics = runner.test()
    assert 0 <= metrics['accuracy/top1'] <= 100
    if name != 'linear':
        assert runner.model.head.fc.num_updates == 4
