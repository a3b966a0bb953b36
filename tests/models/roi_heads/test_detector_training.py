"""Small detectors in real trainings, on generated images in LVIS format."""
import torch
from helpers.runners import shapes_cfg
from mmengine.runner import Runner


def test_training_validation_and_checkpoint(shapes, tmp_path):
    runner = Runner.from_cfg(shapes_cfg('cascade_tde_r18', shapes, tmp_path))
    runner.train()
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == 3 and torch.tensor(losses).isfinite().all()
    for head in runner.model.roi_head.bbox_head:
        assert head.fc_cls.num_updates == 3 and head.fc_cls.mean_feature.any()

    metrics = runner.test()
    assert {f'lvis/{kind}_AP{which}' for kind in ('bbox', 'segm') for which in ('', 'r', 'c', 'f')} <= metrics.keys()
    state = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert [state[f'roi_head.bbox_head.{stage}.fc_cls.num_updates'] for stage in range(3)] == [3, 3, 3]


def test_gradient_accumulation_and_weight_averaging(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path)
    cfg.optim_wrapper.accumulative_counts = 3
    cfg.custom_hooks.append(dict(type='EMAHook'))
    cfg.train_cfg.val_interval = 2
    runner = Runner.from_cfg(cfg)
    runner.train()
    layers = [head.fc_cls for head in runner.model.roi_head.bbox_head]
    assert [layer.num_updates.item() for layer in layers] == [1, 1, 1]
    averaged = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    for stage, layer in enumerate(layers):
        assert torch.equal(averaged[f'roi_head.bbox_head.{stage}.fc_cls.mean_feature'], layer.mean_feature)
