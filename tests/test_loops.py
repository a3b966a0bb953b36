"""The loop that computes class means, in a real Runner."""
import pytest
import torch
from helpers.runners import baseline_cfg, head_of
from mmengine.runner import Runner
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
    with pytest.raises(ValueError, match='ClassMeansLoop needs an NCMLinear'):
        cfg.model.head.update(head_of('LWSLinear'))
        cfg.experiment_name += '_lws'
        Runner.from_cfg(cfg).train()
