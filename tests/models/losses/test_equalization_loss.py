"""Softmax equalization loss, against loops over its definition and in detectors."""
import json
import math

import pytest
import torch
from helpers.detectors import as_list, heads_of, losses, predict, small_detector, with_direction
from helpers.runners import shapes_cfg
from mmengine.runner import Runner
from torch.nn import functional as F

from mmcausal.models import EqualizationLoss

COUNTS = [500, 5, 50, 3]  # with tail_below=10, classes 1 and 3 are the tail


def built(**kwargs):
    loss = EqualizationLoss(tail_below=10, **kwargs)
    loss.set_class_counts(COUNTS)
    return loss


def oracle(logits, label, tail):
    """Return the loss of one proposal from its logits, its label (4 is background) and the tail classes."""
    total = 0.
    for k, z in enumerate(logits):
        ignored = label != 4 and k in tail and k != label
        total += 0. if ignored else math.exp(z)
    return -math.log(math.exp(logits[label]) / total)


def test_loss_equals_the_loops():
    logits, labels = torch.randn(5, 5), torch.tensor([0, 1, 2, 3, 4])
    weight = torch.tensor([1., 2., 0., 1., 1.])
    expected = [oracle(z, y, {1, 3}) for z, y in zip(logits.tolist(), labels.tolist())]
    torch.testing.assert_close(built()(logits, labels, reduction_override='none'), torch.tensor(expected))
    total = sum(w * e for w, e in zip(weight.tolist(), expected))
    value = built(loss_weight=3.)(logits, labels, weight, avg_factor=4.)
    torch.testing.assert_close(value, torch.tensor(3 * total / 4))


def test_tail_gets_no_gradient_from_other_foreground():
    logits = torch.randn(3, 5, requires_grad=True)
    built()(logits, torch.tensor([0, 1, 4])).backward()
    gradient = logits.grad
    assert gradient[0, [1, 3]].eq(0).all() and gradient[0, [0, 2, 4]].ne(0).all()
    assert gradient[1, 3] == 0 and gradient[1, 1] != 0  # a tail class learns from its own samples
    assert gradient[2].ne(0).all()  # and from the background


def test_special_cases_are_cross_entropy():
    logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    plain = F.cross_entropy(logits, labels)
    torch.testing.assert_close(built(ignore_prob=0.)(logits, labels), plain)
    without_tail = EqualizationLoss(tail_below=0)
    without_tail.set_class_counts(COUNTS)
    torch.testing.assert_close(without_tail(logits, labels), plain)
    assert built()(torch.randn(0, 5), torch.zeros(0, dtype=torch.long), avg_factor=1.) == 0


@pytest.mark.parametrize('change, words', [(dict(ignore_prob=1.5), 'ignore_prob must be a number in'),
                                           (dict(tail_below=-1), 'tail_below must be')])
def test_bad_arguments(change, words):
    with pytest.raises(ValueError, match=words):
        EqualizationLoss(**change)


def test_counts_must_be_known_and_fit():
    logits, labels = torch.randn(2, 5), torch.tensor([0, 4])
    with pytest.raises(RuntimeError, match='ClassPriorHook'):
        EqualizationLoss()(logits, labels)
    with pytest.raises(ValueError, match='counts of 4 classes, but got logits of 6'):
        built()(torch.randn(2, 7), labels)


def test_equalization_loss():
    detector = small_detector('cascade_tde_r101', bbox_head=dict(loss_cls=dict(type='mmcausal.EqualizationLoss')))
    for head in heads_of(detector):
        head.loss_cls.set_class_counts([1000, 500, 50, 20, 5, 2])
    assert losses(detector)[0].isfinite()
    assert predict(with_direction(detector, 1.5))[0].pred_instances.scores.isfinite().all()


def test_repeat_factor_sampling_and_equalization_loss(shapes, tmp_path):
    cfg = shapes_cfg('cascade_baseline_r18', shapes, tmp_path)
    cfg.train_dataloader.dataset = dict(
        type='ClassBalancedDataset', oversample_thr=0.2, dataset=cfg.train_dataloader.dataset)
    for head in as_list(cfg.model.roi_head.bbox_head):
        head.loss_cls = dict(type='mmcausal.EqualizationLoss', tail_below=5)
    cfg.custom_hooks.append(dict(type='mmcausal.ClassPriorHook'))
    cfg.train_cfg.val_interval = 2
    runner = Runner.from_cfg(cfg)
    runner.train()
    categories = json.loads((shapes / 'annotations/shapes_train.json').read_text())['categories']
    counts = [category['image_count'] for category in categories]
    for head in runner.model.roi_head.bbox_head:
        assert head.loss_cls.is_tail.tolist() == [count < 5 for count in counts] + [False]
    assert len(runner.train_dataloader.dataset) > 24
