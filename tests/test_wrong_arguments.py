"""Every public constructor against wrong values: each is refused at once, by an error with the value and the demand."""
import math

import pytest
import torch
from mmengine.registry import init_default_scope

from mmcausal import datasets, evaluation, hooks, models
from mmcausal.analysis import Correction
from mmcausal.analysis.sweeps import check_correction
from mmcausal.class_prior import check_class_counts
from mmcausal.datasets.long_tail import long_tailed_counts, long_tailed_indices
from mmcausal.datasets.shapes import make_shapes_dataset, object_counts, shape_classes
from mmcausal.models.heads.oltr_head import ModulatedAttention

VALUES = [None, '1', '', True, math.nan, math.inf, -1, 0, 1.5, []]
# Values that an argument of a kind accepts
ACCEPTED = {
    'size': [], 'optional size': [None], 'flag': [True], 'choice': [], 'config': [], 'path': ['1', ''], 'name': ['1'],
    'optional name': [None, '1'], 'md5': [None],
    'count': [0], 'seed': [0], 'random seed': [None, 0], 'number': [-1, 0, 1.5], 'positive': [1.5],
    'optional positive': [None, 1.5], 'not negative': [0, 1.5], 'share': [0], 'ratio': [1.5], 'alpha': [0, 1.5],
    'optional': [None], 'layer': [None], 'topk': [[]], 'thresholds': [0, 1.5], 'counts': [],
}
SIZES = dict(in_features='size', out_features='size', alpha='alpha')
HEAD = dict(num_classes='size', in_channels='size', loss='config', topk='topk', cal_acc='flag')
LOSS = dict(reduction='choice', loss_weight='not negative')
PARTS = dict(num_heads='size', tau='positive', gamma='not negative', normalizer='choice')


class TwoClasses(torch.utils.data.Dataset):
    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 6

    def get_data_info(self, index):
        return dict(gt_label=index % 2)


def layer(name, **arguments):
    return getattr(models, name), dict(in_features=8, out_features=6), dict(SIZES, **arguments)


def loss(name, **arguments):
    return getattr(models, name), {}, dict(LOSS, **arguments)


def head(name, base=None, **arguments):
    return getattr(models, name), dict(num_classes=6, in_channels=8, **(base or {})), dict(HEAD, **arguments)


def correct(**values):
    return check_correction(models.TDELinear(4, 2), Correction(**values))


def shapes(**values):
    return make_shapes_dataset('nowhere', **dict(dict(num_train=9, num_val=9, num_classes=3, imbalance_ratio=2),
                                                 **values))


LINEAR = dict(classifier=dict(type='mmcausal.TDELinear'))
DIGITS = dict(split='choice', imbalance_ratio='ratio', profile='choice', seed='seed')
# Component: what constructs it, with which other arguments, and the kind of each argument to try
TABLE = {
    'TDELinear': layer('TDELinear', bias='flag'),
    'DeconfoundLinear': layer('DeconfoundLinear', bias='flag', init_length='optional positive', **PARTS),
    'DetectionDeconfoundLinear': layer('DetectionDeconfoundLinear', bias='flag', exempt_background='flag', **PARTS),
    'TauNormLinear': layer('TauNormLinear', exponent='share'),
    'LWSLinear': layer('LWSLinear', bias='flag'),
    'NCMLinear': layer('NCMLinear', tau='positive'),
    'EuclideanNCMLinear': layer('EuclideanNCMLinear', tau='positive'),
    'LogitAdjustedLinear': layer('LogitAdjustedLinear', bias='flag', tau='not negative'),
    'LogitAdjustedDeconfoundLinear': layer('LogitAdjustedDeconfoundLinear', bias='flag', adjustment='not negative',
                                           init_length='optional positive', **PARTS),
    'SampleLoss': loss('SampleLoss'),
    'ClassPriorLoss': loss('ClassPriorLoss'),
    'LogitAdjustedLoss': loss('LogitAdjustedLoss', tau='not negative'),
    'LDAMLoss': loss('LDAMLoss', max_margin='not negative', scale='not negative'),
    'LabelAwareSmoothingLoss': loss('LabelAwareSmoothingLoss', tail='share'),
    'SoftmaxFocalLoss': loss('SoftmaxFocalLoss', gamma='not negative', detach_modulator='flag'),
    'EqualizationLoss': loss('EqualizationLoss', tail_below='not negative', ignore_prob='share'),
    'ClassBalancedLoss': (models.ClassBalancedLoss, dict(loss=torch.nn.CrossEntropyLoss()),
                          dict(loss='config', beta='share')),
    'DeferredReweightingLoss': (models.DeferredReweightingLoss, dict(loss=torch.nn.CrossEntropyLoss()),
                                dict(loss='config', beta='share')),
    'ClassifierHead': head('ClassifierHead', LINEAR, classifier='config'),
    'CenteredHead': head('CenteredHead', LINEAR, classifier='config'),
    'DeconfoundHead': head('DeconfoundHead', alpha='alpha', init_length='optional positive', **PARTS),
    'OLTRHead': head('OLTRHead', dict(places=4), places='size', classifier='layer', centroid_weight='not negative'),
    'ModulatedAttention': (ModulatedAttention, dict(channels=8, places=4), dict(channels='size', places='size')),
    'ResNet10': (models.ResNet10, {}, dict(in_channels='size')),
    'ResNet32': (models.ResNet32, {}, dict(in_channels='size', last_blocks='size')),
    'SmallConvNet': (models.SmallConvNet, {}, dict(in_channels='size', channels='size')),
    'TwinResNeXt': (models.TwinResNeXt, dict(depth=50), dict(in_channels='size')),
    'BBNClassifier': (models.BBNClassifier, {}, dict(backbone='config')),
    'FineTunedClassifier': (models.FineTunedClassifier, {}, dict(backbone='config')),
    'StageTwoClassifier': (models.StageTwoClassifier, {}, dict(backbone='config')),
    'TDEDetectorTTA': (models.TDEDetectorTTA, dict(module=torch.nn.Linear(2, 2), tta_cfg={}), dict(tta_cfg='optional')),
    'check_class_counts': (check_class_counts, {}, dict(counts='counts')),
    'LongTailedDigits': (datasets.LongTailedDigits, dict(lazy_init=True), DIGITS),
    'LongTailedCIFAR10': (datasets.LongTailedCIFAR10, dict(data_root='nowhere', lazy_init=True),
                          dict(DIGITS, val_per_class='count', md5='md5')),
    'LongTailedCIFAR100': (datasets.LongTailedCIFAR100, dict(data_root='nowhere', lazy_init=True),
                           dict(DIGITS, val_per_class='count')),
    'ImageFolder': (datasets.ImageFolder, dict(data_root='nowhere', lazy_init=True),
                    dict(data_root='path', train_folder='path', split='choice', val_per_class='count',
                         val_fraction='share', seed='seed')),
    'ImageList': (datasets.ImageList, dict(ann_file='nowhere', num_classes=3, lazy_init=True),
                  dict(ann_file='name', num_classes='size', train_ann_file='optional name', num_images='optional size',
                       num_train_images='optional size', md5='md5')),
    'ImageNetLT': (datasets.ImageNetLT, dict(ann_file='nowhere', lazy_init=True), dict(num_images='optional size')),
    'LoadImage': (datasets.LoadImage, {}, dict(max_unreadable='count')),
    'ClassPowerSampler': (datasets.ClassPowerSampler, dict(dataset=TwoClasses()),
                          dict(power='number', seed='random seed')),
    'ProgressivelyBalancedSampler': (datasets.ProgressivelyBalancedSampler, dict(dataset=TwoClasses(), max_epochs=3),
                                     dict(max_epochs='positive', seed='random seed')),
    'TwoBranchSampler': (datasets.TwoBranchSampler, dict(dataset=TwoClasses()), dict(seed='random seed')),
    'long_tailed_counts': (long_tailed_counts, dict(max_count=9, num_classes=3, imbalance_ratio=3),
                           dict(max_count='size', num_classes='size', imbalance_ratio='ratio', profile='choice')),
    'long_tailed_indices': (long_tailed_indices, dict(labels=[0, 1], counts=[1, 1]), dict(seed='seed')),
    'shape_classes': (shape_classes, {}, dict(num_classes='size')),
    'object_counts': (object_counts, dict(num_images=9, num_classes=3, imbalance_ratio=2),
                      dict(num_images='size', num_classes='size', imbalance_ratio='ratio')),
    'make_shapes_dataset': (shapes, {}, dict(num_train='size', num_val='size', num_classes='size', image_size='size',
                                             imbalance_ratio='ratio', frequency_bounds='choice')),
    'ShotAccuracy': (evaluation.ShotAccuracy, {},
                     dict(few='thresholds', classwise='flag', collect_device='choice', groups='optional',
                          class_prior='optional', class_counts='optional')),
    'shot_groups': (evaluation.shot_groups, dict(class_counts=[1, 2], few=0), dict(many='thresholds')),
    'frequency_groups': (evaluation.frequency_groups, dict(class_counts=[1, 2]), dict(rare='count', common='choice')),
    'quantile_groups': (evaluation.quantile_groups, dict(class_counts=[1, 2], quantiles=(.3, .6)),
                        dict(quantiles='choice', names='choice')),
    'CocoMetric': (evaluation.CocoMetric, {}, dict(rare='count', common='choice', groups='optional',
                                                   class_counts='optional')),
    'HeadDirectionHook': (hooks.HeadDirectionHook, {}, dict(momentum='share', keep_direction='flag')),
    'DeferredReweightingHook': (hooks.DeferredReweightingHook, {}, dict(begin='count')),
    'PicturesHook': (hooks.PicturesHook, {}, dict(interval='size')),
    'Correction': (correct, {}, dict(exponent='share', tau='not negative', alpha='alpha')),
}
CASES = [pytest.param(name, argument, id=f'{name}-{argument}')
         for name, (_, _, arguments) in TABLE.items() for argument in arguments]
WITHOUT_MORE = ('Correction', 'ShotAccuracy', 'TDEDetectorTTA')  # another argument would have to fit the accepted value


@pytest.mark.parametrize('name, argument', CASES)
def test_a_wrong_value_is_an_error_with_value_and_demand(name, argument):
    init_default_scope('mmpretrain')
    construct, others, arguments = TABLE[name]
    accepted = ACCEPTED[arguments[argument]]
    for value in VALUES:
        if not any(value is each or (type(value) is type(each) and value == each) for each in accepted):
            with pytest.raises(ValueError, match='must|needs?') as error:
                construct(**{**others, argument: value})
            assert 'array' in str(error.value) or repr(value) in str(error.value), (value, str(error.value))


@pytest.mark.parametrize('name, argument', CASES)
def test_accepted_values(name, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    init_default_scope('mmpretrain')
    construct, others, arguments = TABLE[name]
    for value in ACCEPTED[arguments[argument]]:
        if name not in WITHOUT_MORE:
            construct(**{**others, argument: value})


@pytest.mark.parametrize('counts', ['abc', [3, 'a'], [[1, 2]], [1, math.nan], [1, math.inf], [True, True], {'a': 1}, 5])
@pytest.mark.parametrize('name', ['LogitAdjustedLoss', 'EqualizationLoss', 'ClassBalancedLoss', 'LogitAdjustedLinear',
                                  'LogitAdjustedDeconfoundLinear'])
def test_class_counts_must_be_finite_numbers(name, counts):
    construct = getattr(models, name)
    arguments = {'LogitAdjustedLinear': (8, 2), 'LogitAdjustedDeconfoundLinear': (8, 2),
                 'ClassBalancedLoss': (torch.nn.CrossEntropyLoss(), )}.get(name, ())
    with pytest.raises(ValueError, match='class counts must be one finite number for each class, but got'):
        construct(*arguments).set_class_counts(counts)


def test_negative_counts_and_a_data_set_without_images():
    with pytest.raises(ValueError, match='class counts must not be negative, but class 1 has -2'):
        models.EqualizationLoss().set_class_counts([1, -2])
    with pytest.raises(ValueError, match='need images, but this list has none'):
        datasets.ClassPowerSampler([])


def test_seeds_are_those_of_numpy():
    with pytest.raises(ValueError, match=r'seed must be below 2\*\*32, but got 4294967296'):
        datasets.LongTailedDigits(seed=2**32, lazy_init=True)
    assert datasets.LongTailedDigits(seed=2**32 - 1).seed == 2**32 - 1


def test_an_unknown_reduction_and_weights_of_another_shape():
    loss, logits, labels = models.SoftmaxFocalLoss(), torch.randn(3, 4), torch.tensor([0, 1, 2])
    for override in ('', 'average', 0, []):
        with pytest.raises(ValueError, match='reduction must be one of'):
            loss(logits, labels, reduction_override=override)
    with pytest.raises(ValueError, match=r'weight must have one value for each of 3 samples, but got shape \(3, 1\)'):
        loss(logits, labels, weight=torch.ones(3, 1))
    with pytest.raises(ValueError, match=r'needs one label for each image, but got labels of shape \(3, 4\)'):
        loss(logits, logits.softmax(-1))


@pytest.mark.parametrize('value', [None, True, -1, 1.5, []])
def test_tde_needs_a_model_and_a_name(value):
    model = torch.nn.Sequential(torch.nn.Linear(8, 3))
    for function in (models.check_tde, lambda *args: models.enable_tde(args[0], 0.5, args[1]),
                     models.DeployedClassifier):
        for arguments in ((model, value), (value, '0')):
            with pytest.raises(ValueError, match='TDE needs a model and the name of its classifier, but got'):
                function(*arguments)
    with pytest.raises(ValueError, match='has no roi_head'):
        models.enable_detector_tde(value, 0.5)


@pytest.mark.parametrize('change, words', [
    (dict(classifier='alpha'), "classifier must be a dict of the arguments of the layer, but got 'alpha'"),
    (dict(classifier=[]), r'classifier must be a dict .*, but got \[\]'),
    (dict(bbox_head='Shared2FCBBoxHead'), "bbox_head must be a config .*, but got 'Shared2FCBBoxHead'"),
    (dict(bbox_head=[dict(type='mmdet.Shared2FCBBoxHead'), 3]), 'bbox_head must be a config .*, but got 3'),
    (dict(bbox_head=[]), r'needs a bbox_head, .*, but got \[\]'),
])
def test_wrong_arguments_of_roi_heads(change, words):
    arguments = dict(dict(bbox_head=dict(type='mmdet.Shared2FCBBoxHead')), **change)
    with pytest.raises(ValueError, match=words):
        models.TDEStandardRoIHead(**arguments)


class OneLabel(TwoClasses):
    def __init__(self, label):
        self.label = label

    def get_data_info(self, index):
        return dict(gt_label=self.label if index == 3 else index % 2)


@pytest.mark.parametrize('label', [-1, 2, 7])
def test_labels_beyond_the_class_names_are_not_counted(label):
    for function in (datasets.drawn_class_counts, datasets.ClassPowerSampler, datasets.TwoBranchSampler):
        with pytest.raises(ValueError, match=rf'labels must be in \[0, 2\), one for each class name, but got {label}'):
            function(OneLabel(label))
    assert datasets.drawn_class_counts(OneLabel(1)) == [3, 3]
