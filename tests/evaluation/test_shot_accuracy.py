"""Accuracy by shot group against counting by hand."""
import numpy as np
import pytest
import torch

from mmcausal.evaluation import ShotAccuracy


def evaluate(labels, predictions, **kwargs):
    metric = ShotAccuracy(**kwargs)
    metric.process(None, [dict(gt_label=torch.tensor([y]), pred_label=torch.tensor([p]))
                          for y, p in zip(labels, predictions)])
    return metric.evaluate(len(labels))


def test_shots_against_counting_by_hand():
    # counts 500 and 101 are many, 100 and 20 medium, 19 few; class accuracies 50, 0, 100, -, 100
    result = evaluate([0, 0, 1, 2, 4, 4, 4], [0, 1, 0, 2, 4, 4, 4], class_counts=[500, 101, 100, 20, 19],
                      classwise=True)
    assert result['shot/many'] == 25 and result['shot/medium'] == 100 and result['shot/few'] == 100
    assert result['shot/overall'] == pytest.approx(500 / 7)
    assert result['shot/classwise'][:3] == [50, 0, 100]


def test_accuracy_under_another_prior_by_hand():
    # class accuracies 50, 0, 100, -
    arguments = dict(labels=[0, 0, 1, 2], predictions=[0, 1, 0, 2], class_counts=[500, 300, 100, 50])
    assert evaluate(**arguments, class_prior='train')['shot/prior'] == pytest.approx((250 + 100) / 9)
    assert evaluate(**arguments, class_prior=[0, 1, 3, 7])['shot/prior'] == pytest.approx(75)
    # weights 1/500, 1/300, 1/100, and none for the class that was not tested
    reversed_counts = evaluate(**arguments, class_prior='reversed')['shot/prior']
    assert reversed_counts == pytest.approx((50 / 500 + 100 / 100) / (1 / 500 + 1 / 300 + 1 / 100))
    with pytest.raises(ValueError, match='class 1 with count 0'):
        evaluate([0], [0], class_counts=[9, 0], class_prior='reversed')
    for prior in ([1, 1], [1, 1, -1, 1], [0, 0, 0, 0], [1, 1, float('nan'), 1]):
        with pytest.raises(ValueError, match="class_prior must be 'train', 'reversed' or 4 weights"):
            evaluate(**arguments, class_prior=prior)


def test_a_prior_that_says_nothing():
    for prior in ('uniform', 3, [[1, 2]], ['a', 'b'], ['1', '2'], [True, True], np.array(3), np.ones((1, 2)), []):
        with pytest.raises(ValueError, match="class_prior must be 'train', 'reversed' or"):
            ShotAccuracy(class_prior=prior)
    with pytest.raises(ValueError, match='all its weight to classes without a tested image'):
        evaluate([0], [0], class_counts=[9, 9], class_prior=[0, 1])


def test_the_label_is_that_of_the_scores():
    """Test-time augmentation merges the scores of several views, but the host leaves the label of the first."""
    metric = ShotAccuracy(class_counts=[500, 5])
    metric.process(None, [dict(gt_label=torch.tensor([1]), pred_label=torch.tensor([0]),
                               pred_score=torch.tensor([0.4, 0.6]))])
    assert metric.evaluate(1)['shot/overall'] == 100


def test_the_total_effect_is_reported_beside_tde():
    def both(labels, tde, total_effect, **kwargs):
        metric = ShotAccuracy(class_counts=[500, 50, 5], **kwargs)
        metric.process(None, [dict(gt_label=torch.tensor([y]), pred_score=torch.eye(3)[p],
                                   total_effect_score=torch.eye(3)[q]) for y, p, q in zip(labels, tde, total_effect)])
        return metric.evaluate(len(labels))

    labels, tde, total_effect = [0, 0, 1, 2], [1, 0, 1, 2], [0, 0, 1, 0]
    result = both(labels, tde, total_effect, class_prior=[1, 1, 2], classwise=True)
    assert result == {
        'shot/overall': 75, 'shot/many': 50, 'shot/medium': 100, 'shot/few': 100, 'shot/prior': 87.5,
        'shot/classwise': [50, 100, 100],
        'shot/total_effect_overall': 75, 'shot/total_effect_many': 100, 'shot/total_effect_medium': 100,
        'shot/total_effect_few': 0, 'shot/total_effect_prior': 50, 'shot/total_effect_classwise': [100, 100, 0]}
    alone = evaluate(labels, total_effect, class_counts=[500, 50, 5])
    assert {f'shot/total_effect_{name[5:]}': value for name, value in alone.items()}.items() <= result.items()


def test_a_group_without_classes_is_left_out():
    assert set(evaluate([0, 1], [0, 0], class_counts=[500, 300])) == {'shot/overall', 'shot/many'}


def test_bad_arguments():
    with pytest.raises(ValueError, match='few must not be above many'):
        ShotAccuracy(many=5, few=20)
    with pytest.raises(ValueError, match='needs the training samples per class'):
        evaluate([0], [0])
    with pytest.raises(ValueError, match=r'labels must be in \[0, 1\), the range of class_counts, but got 3 to 3'):
        evaluate([3], [0], class_counts=[5])


def with_meta(metainfo, **kwargs):
    metric = ShotAccuracy(**kwargs)
    metric.dataset_meta = metainfo
    return metric


def test_groups_by_quantiles_and_by_name():
    # class accuracies 50, 0, 100, -, 100
    arguments = dict(labels=[0, 0, 1, 2, 4, 4, 4], predictions=[0, 1, 0, 2, 4, 4, 4], class_counts=[90, 80, 7, 6, 5])
    result = evaluate(**arguments, groups=(.4, .8))  # two rarest, two in the middle, one
    assert (result['shot/few'], result['shot/medium'], result['shot/many']) == (100, 50, 50)
    result = evaluate(**arguments, groups=dict(land=[0, 2], air=[3]), classwise=True)  # the only class was not tested
    assert result['shot/land'] == 75 and set(result) == {'shot/land', 'shot/overall', 'shot/classwise'}
    metric = with_meta(dict(classes='vwxyz'), class_counts=[9] * 5, groups=dict(land=['z', 'v']))
    assert metric.groups()['land'].tolist() == [True, False, False, False, True]


def test_counts_in_another_order_than_the_dataset():
    metainfo = dict(classes=('cat', 'dog'), class_counts=[500, 5])
    with pytest.raises(ValueError, match="first is class 'cat', label 0: 5 here, 500 in the dataset"):
        with_meta(metainfo, class_counts=[5, 500])
    for counts in ([500, 5], dict(dog=5, cat=500), None):
        assert with_meta(metainfo, class_counts=counts).counts().tolist() == [500, 5]


def test_groups_that_the_classes_do_not_have():
    with pytest.raises(ValueError, match="'fish' is none of its 2 classes"):
        with_meta(dict(classes=('cat', 'dog'), class_counts=[500, 5]), groups=dict(sea=['fish']))
    with pytest.raises(ValueError, match="names of groups must not be among"):
        ShotAccuracy(groups=dict(overall=[0]))
    with pytest.raises(ValueError, match='groups must be two quantiles'):
        ShotAccuracy(groups=(.5, .1))
