"""The models behind the tables of docs/supported.md, by the first cell of their row."""
from typing import Callable, Dict, NamedTuple, Tuple

import torch
from mmengine.registry import init_default_scope
from mmpretrain.models import LinearClsHead
from mmpretrain.structures import DataSample
from torch import nn

from mmcausal.class_prior import TakesClassCounts
from mmcausal.models import DeconfoundLinear, NCMLinear
from mmcausal.models.heads import CenteredHead
from mmcausal.registry import MODELS

SIZES = dict(num_classes=6, in_channels=8)
IMAGES = (1, 32, 32)
MAPS = (8, 2, 2)


class Case(NamedTuple):
    """A model, the name of its classifier layer and of the module that predicts, and the shape of one input."""
    build: Callable[[], nn.Module]
    classifier: str
    predictor: str = 'head'
    shape: Tuple[int, ...] = (8, )

    def predict(self, model, inputs):
        """Return the class scores (N, C) for features, or for images if the model itself predicts."""
        predictor = model.get_submodule(self.predictor) if self.predictor else model
        samples = predictor.predict((inputs, ) if self.predictor else inputs)
        return torch.stack([sample.pred_score for sample in samples])


class SigmoidHead(LinearClsHead):
    """A head of a user that predicts by sigmoids, with a loss that does not show it."""

    def _get_predictions(self, cls_score, data_samples):
        return [DataSample().set_pred_score(score) for score in cls_score.sigmoid()]


class TwoClassifierHead(LinearClsHead):
    """A head of a user that averages two classifiers of this package."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.fc, self.other = (DeconfoundLinear(self.in_channels, self.num_classes) for _ in range(2))

    def forward(self, feats):
        return (self.fc(feats[-1]) + self.other(feats[-1])) / 2


class BottleneckHead(LinearClsHead):
    """A head of a user with a layer before the classifier, a temperature and an offset of the classes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.bottleneck, self.temperature = nn.Linear(self.in_channels, self.in_channels), nn.Parameter(torch.ones(()))
        self.register_buffer('offset', torch.arange(self.num_classes) / 10)

    def pre_logits(self, feats):
        return self.bottleneck(feats[-1]).relu()

    def forward(self, feats):
        return self.fc(self.pre_logits(feats)) / self.temperature + self.offset


def ready(model):
    """Give a model what a training would give it: other weights, class counts, class means, a centre."""
    for module in model.modules():
        if isinstance(module, nn.Linear):  # stock heads of transformers start at zero
            nn.init.normal_(module.weight, std=0.3)
        if isinstance(module, TakesClassCounts):
            module.set_class_counts([100, 50, 20, 10, 5, 2])
        if isinstance(module, NCMLinear):
            module.has_means.fill_(True)
        if isinstance(module, CenteredHead):
            nn.init.uniform_(module.center)
    return model.eval()


def built(**cfg):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    return ready(MODELS.build(cfg))


def of_head(build, classifier='head.fc', **kwargs):
    return Case(lambda: nn.ModuleDict(dict(head=build())), classifier, **kwargs)


def head(kind, classifier='head.fc', shape=(8, ), sizes=SIZES, **kwargs):
    """Return the case of a head of six classes on eight channels."""
    return of_head(lambda: built(type=kind, **{**sizes, **kwargs}), classifier, shape=shape)


def own_head(kind):
    return of_head(lambda: ready(kind(**SIZES)))


def own_layer(kind, of='mmcausal.ClassifierHead'):
    """Return the case of a classifier layer of this package."""
    return head(of, sizes=dict(SIZES, classifier=dict(type=f'mmcausal.{kind}')))


def loss(kind, **kwargs):
    """Return the case of a linear head with this loss."""
    return head('LinearClsHead', loss=dict(type=kind, **kwargs))


def images(backbone, classifier='head.fc', kind='ImageClassifier', head=None, shape=IMAGES, **cfg):
    """Return the case of a classifier of images; without a head, the backbone yields the logits."""
    return Case(lambda: built(type=kind, backbone=backbone, head=head or dict(type='ClsHead'), **cfg), classifier, '',
                shape)


def pooled(kind, backbone, channels):
    """Return the case of a classifier of images by this package, with a linear head on the pooled features."""
    return images(backbone, kind=kind, head=dict(type='LinearClsHead', num_classes=6, in_channels=channels),
                  neck=dict(type='GlobalAveragePooling'))


def tasks(task):
    """Return the case of one head of a ``MultiTaskHead``."""
    heads = dict(colour=dict(type='LinearClsHead', num_classes=6),
                 tags=dict(type='MultiLabelLinearClsHead', num_classes=4))
    case = head('MultiTaskHead', f'head.task_heads.{task}.fc', sizes=dict(task_heads=heads, in_channels=8))
    return case._replace(predictor=f'head.task_heads.{task}')


LENET = dict(type='LeNet5', num_classes=6)
SMALL = dict(type='mmcausal.SmallConvNet', in_channels=1, channels=(4, 8))
PRETRAINING = dict(embed_dims=8, num_embed=20, loss=dict(type='CrossEntropyLoss'))

HEADS: Dict[str, Case] = {
    '`LinearClsHead`': head('LinearClsHead'),
    '`ArcFaceClsHead`': head('ArcFaceClsHead', 'head.norm_product'),
    '`ArcFaceClsHead(num_subcenters=3)`': head('ArcFaceClsHead', 'head.norm_product', num_subcenters=3),
    '`VisionTransformerClsHead`': head('VisionTransformerClsHead', 'head.layers.head', hidden_dim=12),
    'its hidden layer': head('VisionTransformerClsHead', 'head.layers.pre_logits', hidden_dim=6),
    '`StackedLinearClsHead`': head('StackedLinearClsHead', 'head.layers.2.fc', mid_channels=[12, 6]),
    'its hidden layers': head('StackedLinearClsHead', 'head.layers.1.fc', mid_channels=[12, 6]),
    '`VigClsHead`': head('VigClsHead', 'head.fc2', hidden_dim=12),
    'its first layer': head('VigClsHead', 'head.fc1', hidden_dim=12),
    '`DeiTClsHead`': head('DeiTClsHead', 'head.layers.head'),
    '`ConformerHead`': head('ConformerHead', 'head.conv_cls_head', in_channels=[8, 10]),
    '`EfficientFormerClsHead`': head('EfficientFormerClsHead', 'head.head'),
    '`EfficientFormerClsHead(distillation=False)`': head('EfficientFormerClsHead', 'head.head', distillation=False),
    '`LeViTClsHead`': head('LeViTClsHead', 'head.head.linear'),
    '`LeViTClsHead(distillation=False)`': head('LeViTClsHead', 'head.head.linear', distillation=False),
    '`MultiLabelLinearClsHead`': head('MultiLabelLinearClsHead'),
    'with a loss on the softmax': head('MultiLabelLinearClsHead', loss=dict(type='CrossEntropyLoss')),
    '`CSRAClsHead`': head('CSRAClsHead', shape=MAPS, num_heads=1, lam=0.1,
                          loss=dict(type='CrossEntropyLoss', use_sigmoid=True)),
    '`MultiTaskHead`, a linear task': tasks('colour'),
    '`MultiTaskHead`, a multi-label task': tasks('tags'),
    '`BEiTV1Head` and other heads for pre-training': head('BEiTV1Head', 'head.cls_head', sizes=PRETRAINING),
    '`ClsHead` on `LeNet5`': images(LENET, 'backbone.classifier.2'),
    '`MultiLabelClsHead` on `LeNet5`': images(LENET, 'backbone.classifier.2', head=dict(type='MultiLabelClsHead')),
    '`ClsHead` on `InceptionV3(aux_logits=True)`': images(
        dict(type='InceptionV3', num_classes=6, aux_logits=True), 'backbone.AuxLogits.fc'),
    '`mmcausal.DeconfoundHead`': head('mmcausal.DeconfoundHead'),
    '`mmcausal.CenteredHead`': own_layer('EuclideanNCMLinear', of='mmcausal.CenteredHead'),
    '`mmcausal.OLTRHead`': head('mmcausal.OLTRHead', shape=MAPS, places=4),
    'its memory': head('mmcausal.OLTRHead', 'head.memory', shape=MAPS, places=4),
    'your head with layers, temperature, offsets': own_head(BottleneckHead),
    'your head with sigmoids': own_head(SigmoidHead),
    'your head with two classifiers': own_head(TwoClassifierHead),
}
LAYERS = {f'`mmcausal.{kind}`': own_layer(kind) for kind in (
    'TDELinear', 'DeconfoundLinear', 'TauNormLinear', 'LWSLinear', 'LogitAdjustedLinear',
    'LogitAdjustedDeconfoundLinear', 'NCMLinear', 'EuclideanNCMLinear')}
SMOOTH = dict(label_smooth_val=0.1, num_classes=6)
LOSSES = {
    '`CrossEntropyLoss`': loss('CrossEntropyLoss'),
    '`CrossEntropyLoss(use_soft=True)`': loss('CrossEntropyLoss', use_soft=True),
    '`CrossEntropyLoss(use_sigmoid=True)`': loss('CrossEntropyLoss', use_sigmoid=True),
    '`LabelSmoothLoss`': loss('LabelSmoothLoss', **SMOOTH),
    "`LabelSmoothLoss(mode='multi_label', use_sigmoid=True)`": loss('LabelSmoothLoss', mode='multi_label',
                                                                    use_sigmoid=True, **SMOOTH),
    '`FocalLoss`': loss('FocalLoss'),
    '`AsymmetricLoss`': loss('AsymmetricLoss'),
    '`AsymmetricLoss(use_sigmoid=False)`': loss('AsymmetricLoss', use_sigmoid=False),
    '`SeesawLoss`': loss('SeesawLoss', num_classes=6),
    **{f'`mmcausal.{kind}`': loss(f'mmcausal.{kind}') for kind in (
        'SoftmaxFocalLoss', 'LDAMLoss', 'LogitAdjustedLoss', 'LabelAwareSmoothingLoss')},
    **{f'`mmcausal.{kind}` of a loss on the softmax': loss(f'mmcausal.{kind}', loss=dict(type='CrossEntropyLoss'))
       for kind in ('ClassBalancedLoss', 'DeferredReweightingLoss')},
    '`mmcausal.ClassBalancedLoss` of `FocalLoss`': loss('mmcausal.ClassBalancedLoss', loss=dict(type='FocalLoss')),
    '`torch.nn.BCEWithLogitsLoss`': of_head(lambda: ready(LinearClsHead(loss=nn.BCEWithLogitsLoss(), **SIZES))),
}
MODELS_OF_IMAGES = {
    '`ImageClassifier`': pooled('ImageClassifier', SMALL, 8),
    '`mmcausal.FineTunedClassifier`, `mmcausal.StageTwoClassifier`': pooled('mmcausal.StageTwoClassifier', SMALL, 8),
    '`mmcausal.BBNClassifier`': pooled('mmcausal.BBNClassifier', dict(type='mmcausal.ResNet32', in_channels=1), 128),
    '`ImageToImageRetriever`': Case(lambda: built(
        type='ImageToImageRetriever', image_encoder=SMALL, prototype=torch.zeros(1, 8),
        head=dict(type='LinearClsHead', **SIZES)), 'head.fc', ''),
}
CLASSIFICATION = {**HEADS, **LAYERS, **LOSSES, **MODELS_OF_IMAGES}
