"""The OLTR head and its memory of class means, against loops over the equations and in a real Runner."""
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from helpers.runners import baseline_cfg, unchanged
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict
from mmpretrain.structures import DataSample

from mmcausal.hooks import ClassMeansHook
from mmcausal.models import DeconfoundLinear
from mmcausal.registry import MODELS


def oltr_head(**kwargs):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(type='mmcausal.OLTRHead', num_classes=3, in_channels=4, places=6, **kwargs))


def with_memory(head):
    with torch.no_grad():
        head.memory.add_samples(torch.randn(3, 4), torch.arange(3))
        head.memory.set_means()
    return head


def test_modulated_attention_in_loops():
    head, x = oltr_head(), torch.randn(2, 4, 2, 3)
    attention = head.attention
    assert torch.equal(attention(x), x)  # starts as the identity
    torch.nn.init.normal_(attention.restore.weight)
    for n in range(2):
        query, key, value = ([[float(v) for v in row] for row in conv(x[n:n + 1])[0].flatten(1).t()]
                             for conv in (attention.query, attention.key, attention.value))
        where = torch.softmax(attention.spatial(x[n].flatten()[None])[0], 0)
        for place in range(6):
            products = [sum(q * k for q, k in zip(query[place], key[other])) for other in range(6)]
            scores = torch.tensor(products).softmax(0)
            attended = [sum(float(scores[o]) * value[o][c] for o in range(6)) for c in range(2)]
            restored = attention.restore.weight[:, :, 0, 0] @ torch.tensor(attended)
            expected = x[n].flatten(1)[:, place] + where[place] * restored
            torch.testing.assert_close(attention(x)[n].flatten(1)[:, place], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r'of 6 places needs a feature map .* got \(1, 4, 3, 3\)'):
        attention(torch.randn(1, 4, 3, 3))


def test_meta_embedding_and_centroid_loss_in_loops():
    head, direct, labels = with_memory(oltr_head()), torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    memory = head.memory.weight.detach()
    attract, repel = 0., 0.
    for row, v in enumerate(direct):
        distances = [float((v - c).norm()) for c in memory]
        recalled = sum(o * c for o, c in zip(head.hallucinator(v).softmax(-1), memory))
        expected = 10 / min(distances) * (v + head.selector(v).tanh() * recalled)
        torch.testing.assert_close(head.meta_embedding(direct)[row], expected, rtol=1e-4, atol=1e-5)
        attract += distances[labels[row]]**2 / 2 / 5
        repel += sum(d**2 for c, d in enumerate(distances) if c != labels[row]) / 15
    value = head.centroid_loss(direct, labels)
    assert value.item() == pytest.approx(attract + 0.01 * max(0, 10 - repel), rel=1e-4)
    assert head.fc.normalizer == 'capsule' and head.fc.num_heads == 1


def test_gradient_of_the_centroids_is_the_sources():
    """Over 1 + n samples and the batch, without the weight of the loss; the repulsion has it twice."""
    head, direct = with_memory(oltr_head()), torch.randn(5, 4, requires_grad=True)
    labels, memory = torch.tensor([0, 1, 1, 1, 0]), head.memory.weight
    with torch.no_grad():
        memory.mul_(0.1)  # near each other, so that the hinge acts
    assert head.centroid_pull(direct, labels) == 0
    (head.centroid_weight * head.centroid_loss(direct, labels) + head.centroid_pull(direct, labels)).backward()
    expected, features = torch.zeros(3, 4), torch.zeros(5, 4)
    for c in range(3):
        members = [n for n in range(5) if labels[n] == c]
        expected[c] = sum((memory[c] - direct[n] for n in members), torch.zeros(4)) / (1 + len(members)) / 5
        others = [n for n in range(5) if labels[n] != c]
        expected[c] -= 0.01 * 0.01 * 2 * sum(memory[c] - direct[n] for n in others) / 15
    torch.testing.assert_close(memory.grad, expected.detach(), rtol=1e-4, atol=1e-7)
    for n in range(5):
        features[n] = 0.01 * (direct[n] - memory[labels[n]]) / 5
        features[n] -= 0.01 * 0.01 * 2 * sum(direct[n] - memory[c] for c in range(3) if c != labels[n]) / 15
    torch.testing.assert_close(direct.grad, features.detach(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('model_type', ['ImageClassifier', 'mmcausal.StageTwoClassifier'])
def test_oltr_trains_from_stage_one(stage_one, tmp_path, model_type):
    cfg = baseline_cfg(tmp_path, **{'model.type': model_type, 'load_from': stage_one.checkpoint, 'model.neck': None,
                                   'custom_hooks': [dict(type='mmcausal.ClassMeansHook')],
                                   'optim_wrapper.optimizer.lr': 0.01})
    cfg.model.head = dict(type='mmcausal.OLTRHead', num_classes=10, in_channels=256, places=4)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.head.memory.has_means
    assert unchanged(runner, stage_one) == (model_type != 'ImageClassifier')
    for name in ('loss', 'loss_centroid'):
        assert torch.tensor(runner.message_hub.get_scalar(f'train/{name}').data[0]).isfinite().all()
    assert 0 <= runner.test()['accuracy/top1'] <= 100


def test_the_direction_is_told_by_the_classifier_and_not_by_the_memory(stage_one, tmp_path):
    hooks = [dict(type='mmcausal.ClassMeansHook'), dict(type='mmcausal.HeadDirectionHook')]
    cfg = baseline_cfg(tmp_path, 1, **{'load_from': stage_one.checkpoint, 'model.neck': None, 'custom_hooks': hooks,
                                      'optim_wrapper.optimizer.lr': 0.01})
    cfg.model.head = dict(type='mmcausal.OLTRHead', num_classes=10, in_channels=256, places=4)
    runner = Runner.from_cfg(cfg)
    with mock.patch.object(runner.logger, 'warning') as warning:
        runner.train()
    assert runner.model.head.fc.num_updates and 'never updated' not in str(warning.call_args_list)


def test_mixed_labels_are_refused():
    head = with_memory(oltr_head())
    sample = DataSample().set_gt_label(0).set_gt_score(torch.tensor([0.3, 0.7, 0.]))
    with pytest.raises(ValueError, match='OLTRHead needs one label for each image, because it has a centroid'):
        head.loss((torch.randn(1, 4, 2, 3), ), [sample])


def test_the_direction_of_stage_one_is_left_out():
    head, stage_one = oltr_head(), DeconfoundLinear(4, 3)
    stage_one(torch.randn(5, 4))
    stage_one.update_direction(0.)
    load_state_dict(head, {f'fc.{name}': value for name, value in stage_one.state_dict().items()})
    assert torch.equal(head.hallucinator.weight, stage_one.weight)
    assert not head.fc.mean_feature.any() and head.fc.num_updates == 0  # its features are the meta-embeddings
    head.fc.mean_feature.fill_(2.)
    other = oltr_head()
    load_state_dict(other, head.state_dict())
    assert torch.equal(other.fc.mean_feature, head.fc.mean_feature)  # its own checkpoint


def test_oltr_needs_centroids():
    head = oltr_head()
    with pytest.raises(RuntimeError, match='has no class means'):
        head((torch.randn(1, 4, 2, 3), ))
    with pytest.raises(ValueError, match='centroid_weight must be'):
        oltr_head(centroid_weight=-1)
    with pytest.raises(ValueError, match='fills the memory of an mmcausal.OLTRHead, but got Linear'):
        ClassMeansHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1), iter=0))
