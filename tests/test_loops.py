"""The loop that computes class means, in a real Runner."""
import pytest
import torch
from helpers.commands import BASELINE
from helpers.noise import noise_cfg
from helpers.runners import baseline_cfg, head_of
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict
from torch.nn import functional as F

from mmcausal.registry import MODELS


def test_nearest_class_mean(stage_one, tmp_path):
    cfg = baseline_cfg(tmp_path, **{'model.type': 'mmcausal.StageTwoClassifier', 'model.head': head_of('NCMLinear'),
                                   'load_from': stage_one.checkpoint})
    cfg.train_cfg = dict(type='mmcausal.ClassMeansLoop')
    runner = Runner.from_cfg(cfg)
    runner.train()
    layer = runner.model.head.fc

    stage_one.model.eval()
    sums, counts = torch.zeros(10, 256), torch.zeros(10)
    for batch in runner.train_dataloader:  # another order
        data = stage_one.model.data_preprocessor(batch, False)
        for feature, sample in zip(stage_one.model.extract_feat(data['inputs'], stage='pre_logits'),
                                   data['data_samples']):
            sums[sample.gt_label] += feature.detach()
            counts[sample.gt_label] += 1
    assert counts.tolist() == runner.train_dataloader.dataset.metainfo['class_counts']
    torch.testing.assert_close(layer.weight, sums / counts[:, None])
    x = torch.randn(4, 256)
    nearest = [max(range(10), key=lambda c: float(F.cosine_similarity(row, sums[c], dim=0))) for row in x]
    assert layer.eval()(x).argmax(1).tolist() == nearest

    loaded = MODELS.build(cfg.model)
    loaded.load_state_dict(torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict'])
    torch.testing.assert_close(loaded.eval().head.fc(x), layer(x))
    cfg.custom_hooks = [dict(type='EMAHook')]
    cfg.experiment_name += '_ema'
    with pytest.raises(ValueError, match='must run without EMAHook, which would average the class means'):
        Runner.from_cfg(cfg).train()
    cfg.custom_hooks = []
    with pytest.raises(ValueError, match='ClassMeansLoop needs an NCMLinear'):
        cfg.model.head.update(head_of('LWSLinear'))
        cfg.experiment_name += '_lws'
        Runner.from_cfg(cfg).train()


def test_nearest_class_mean_of_centred_features(stage_one, tmp_path):
    """As in the source: subtract the mean of all images, divide by the length, average by class, measure distances."""
    head = dict(head_of('EuclideanNCMLinear'), type='mmcausal.CenteredHead')
    cfg = baseline_cfg(tmp_path, **{'model.type': 'mmcausal.StageTwoClassifier', 'model.head': head,
                                   'load_from': stage_one.checkpoint})
    cfg.train_cfg = dict(type='mmcausal.ClassMeansLoop')
    runner = Runner.from_cfg(cfg)
    runner.train()

    stage_one.model.eval()
    features, labels = [], []
    for batch in runner.train_dataloader:
        data = stage_one.model.data_preprocessor(batch, False)
        features.append(stage_one.model.extract_feat(data['inputs'], stage='pre_logits').detach())
        labels += [int(sample.gt_label) for sample in data['data_samples']]
    features, labels = torch.cat(features), torch.tensor(labels)
    center = features.mean(0)
    torch.testing.assert_close(runner.model.head.center, center)
    unit = torch.stack([(x - center) / (x - center).norm() for x in features])
    means = torch.stack([unit[labels == c].mean(0) for c in range(10)])
    nearest = [min(range(10), key=lambda c: float((x - means[c]).norm())) for x in unit]

    loaded = MODELS.build(cfg.model)
    loaded.load_state_dict(torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict'])
    for model in (runner.model, loaded):
        predicted = model.eval().head((features, )).argmax(1).tolist()
        assert sum(p == n for p, n in zip(predicted, nearest)) >= len(nearest) - 1  # one may be a tie
    torch.testing.assert_close(loaded.head.fc.weight, means, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('layer, head', [('NCMLinear', 'ClassifierHead'), ('EuclideanNCMLinear', 'CenteredHead')])
def test_class_means_of_other_classes_than_those_of_stage_one(stage_one, tmp_path, layer, head):
    cfg = noise_cfg(tmp_path, 'abcd', BASELINE, load_from=stage_one.checkpoint)
    cfg.model.update(type='mmcausal.StageTwoClassifier')
    cfg.model.head.update(head_of(layer), type=f'mmcausal.{head}')
    cfg.train_cfg = dict(type='mmcausal.ClassMeansLoop')
    runner = Runner.from_cfg(cfg)
    runner.train()  # validates too
    assert runner.model.head.fc.has_means and 'accuracy/top1' in runner.test()


def test_centred_features_have_no_direction_of_stage_one():
    head = MODELS.build(dict(head_of('EuclideanNCMLinear'), type='mmcausal.CenteredHead', num_classes=3, in_channels=4))
    state = head.state_dict()
    stage_one = {'fc.weight': torch.ones(3, 4), 'fc.mean_feature': torch.ones(4), 'fc.num_updates': torch.tensor(5)}
    load_state_dict(head, stage_one)
    assert not head.fc.mean_feature.any() and head.fc.num_updates == 0
    load_state_dict(head, {**state, **stage_one, 'center': torch.ones(4)})  # its own checkpoint
    assert head.fc.mean_feature.all() and head.fc.num_updates == 5


def test_class_means_are_of_all_images(stage_one, tmp_path):
    cfg = baseline_cfg(tmp_path, **{'model.type': 'mmcausal.StageTwoClassifier', 'model.head': head_of('NCMLinear'),
                                   'load_from': stage_one.checkpoint, 'train_dataloader.drop_last': True})
    cfg.train_cfg = dict(type='mmcausal.ClassMeansLoop')
    with pytest.raises(ValueError, match='ClassMeansLoop needs all training images, but drop_last=True'):
        Runner.from_cfg(cfg).train()
