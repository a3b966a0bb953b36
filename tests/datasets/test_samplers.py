"""Samplers on class counts: frequencies, ranks, seeds, epochs."""
from collections import Counter

import pytest
from helpers.runners import baseline_cfg
from mmengine.runner import Runner

from mmcausal.datasets import samplers
from mmcausal.registry import DATA_SAMPLERS

COUNTS = [800, 150, 50]


class Labelled:
    metainfo = dict(classes=('a', 'b', 'c'))

    def __init__(self, labels=None):
        self.labels = labels or [label for label, count in enumerate(COUNTS) for _ in range(count)]

    def __len__(self):
        return len(self.labels)

    def get_cat_ids(self, index):
        label = self.labels[index]
        return label if isinstance(label, list) else [label]


def build(name, dataset=None, **kwargs):
    return DATA_SAMPLERS.build(dict(type=f'mmcausal.{name}', dataset=dataset or Labelled(), seed=0, **kwargs))


def shares(sampler, epochs):
    """Return the share of each class in the draws of some epochs."""
    drawn = Counter()
    for epoch in epochs:
        sampler.set_epoch(epoch)
        drawn.update(sampler_labels(sampler, list(sampler)))
    return [drawn[label] / sum(drawn.values()) for label in range(3)]


def sampler_labels(sampler, indices):
    return [Labelled().labels[index] for index in indices]


@pytest.mark.parametrize('power', [1, 0.5, 0, -1])
def test_classes_are_drawn_by_a_power_of_their_count(power):
    weights = [n**power for n in COUNTS]
    assert shares(build('ClassPowerSampler', power=power), range(20)) == pytest.approx(
        [w / sum(weights) for w in weights], abs=0.01)  # 20,000 draws: 0.0035 is a standard deviation


def test_images_of_a_class_are_drawn_equally_often():
    sampler, drawn = build('ClassPowerSampler'), Counter()
    for epoch in range(150):
        sampler.set_epoch(epoch)
        drawn.update(sampler)
    rare = [drawn[index] for index in range(950, 1000)]
    assert min(rare) > 850 and max(rare) < 1150  # 1000 expected, 32 a standard deviation


def test_progressive():
    sampler = build('ProgressivelyBalancedSampler', max_epochs=100)
    natural, balanced = [n / 1000 for n in COUNTS], [1 / 3] * 3
    for epoch, progress in ((0, 0), (50, 0.5), (100, 1), (130, 1)):
        sampler.set_epoch(epoch)
        probabilities = sampler.image_probabilities()
        expected = [(1 - progress) * n + progress * b for n, b in zip(natural, balanced)]
        by_class = [float(probabilities[[y == label for y in Labelled().labels]].sum()) for label in range(3)]
        assert by_class == pytest.approx(expected)
    assert shares(sampler, [0]) == pytest.approx(natural, abs=0.05)


def test_progressive_epochs_reach_the_sampler(stage_one, tmp_path):
    cfg = baseline_cfg(tmp_path, epochs=2)
    cfg.train_dataloader.sampler = dict(type='mmcausal.ProgressivelyBalancedSampler', max_epochs=2)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.train_dataloader.sampler.epoch == 1


def test_ranks_share_the_draws(monkeypatch):
    whole = list(build('ClassPowerSampler'))
    parts = []
    for rank in range(3):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 3))
        parts.append(build('ClassPowerSampler'))
    lists = [list(part) for part in parts]
    assert [len(part) for part in parts] == [len(part) for part in lists] == [334] * 3
    together = [index for draw in zip(*lists) for index in draw]
    assert together[:1000] == whole and len(together) == 1002


def test_an_epoch_depends_on_seed_and_epoch_alone():
    first, resumed = build('ClassPowerSampler'), build('ClassPowerSampler')
    epochs = []
    for epoch in range(3):
        first.set_epoch(epoch)
        epochs.append(list(first))
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2] != epochs[1]


def test_two_branches_in_turns():
    sampler = build('TwoBranchSampler')
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 2000
    assert sorted(drawn[0::2]) == list(range(1000))  # as they come: each image once
    reversed_shares = Counter(sampler_labels(sampler, drawn[1::2]))
    assert reversed_shares[2] > reversed_shares[1] > reversed_shares[0]
    sampler.set_epoch(1)
    assert list(sampler)[0::2] != drawn[0::2]


def test_bad_data():
    with pytest.raises(ValueError, match='class 1 with count 0'):
        build('ClassPowerSampler', Labelled([0, 0, 2]))
    with pytest.raises(ValueError, match=r'needs? one label for each image, but image 1 has \[0, 2\]'):
        build('ClassPowerSampler', Labelled([0, [0, 2], 1]))
    with pytest.raises(ValueError, match='power must be'):
        build('ClassPowerSampler', power='0')
    with pytest.raises(ValueError, match='max_epochs must be'):
        build('ProgressivelyBalancedSampler', max_epochs=0)


@pytest.mark.parametrize('name', ['ClassPowerSampler', 'TwoBranchSampler'])
def test_another_seed_is_that_of_a_new_sampler(name):
    sampler, other = build(name), DATA_SAMPLERS.build(dict(type=f'mmcausal.{name}', dataset=Labelled(), seed=3))
    assert sampler.seed == 0 and other.seed == 3
    sampler.seed = 3
    assert list(sampler) == list(other) != list(build(name))
