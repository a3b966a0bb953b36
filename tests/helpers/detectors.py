"""Small two-stage detectors made from the LVIS configs, and inputs for them."""
from unittest import mock

import torch
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config

from helpers.commands import CONFIGS
from mmcausal.models.roi_heads.support import box_heads
from mmcausal.models.roi_heads.tde_roi_heads import class_probs
from mmcausal.registry import MODELS

NUM_CLASSES = 6
TDE_CONFIGS = ['cascade_tde_r101', 'htc_tde_r101', 'mask-rcnn_tde_r50', 'cascade_seesaw-tde_r101']


def small_model_cfg(name, num_classes=NUM_CLASSES):
    """Return the model of a config with a narrow ResNet-18, few proposals and few classes."""
    model = Config.fromfile(CONFIGS / 'lvis' / f'{name}.py').model
    model.backbone = dict(
        type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3), norm_cfg=dict(type='BN'))
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    roi_head = model.roi_head
    for extractor in ('bbox_roi_extractor', 'mask_roi_extractor'):
        roi_head[extractor].out_channels = 16
    for head in as_list(roi_head.bbox_head):
        head.update(in_channels=16, fc_out_channels=32, num_classes=num_classes)
        if 'num_classes' in head.loss_cls:
            head.loss_cls.num_classes = num_classes
    for head in as_list(roi_head.mask_head):
        head.update(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=num_classes)
    for cfg in as_list(model.train_cfg.rcnn):
        cfg.sampler.num = 64
    model.train_cfg.rpn_proposal.max_per_img = 100
    model.test_cfg.rpn.max_per_img = 50
    return model


def small_detector(name, num_classes=NUM_CLASSES, bbox_head=None, **roi_head):
    """Return a small detector with changes to its RoI head and to each of its box heads."""
    register_all_modules()
    cfg = small_model_cfg(name, num_classes)
    cfg.roi_head.update(roi_head)
    for head in as_list(cfg.roi_head.bbox_head):
        for key, value in (bbox_head or {}).items():
            head[key] = value  # update() would merge
    torch.manual_seed(0)
    detector = MODELS.build(cfg)
    detector.init_weights()
    return detector


def as_list(value):
    return value if isinstance(value, list) else [value]


def heads_of(detector):
    return box_heads(detector.roi_head)


def inputs(detector, num_items=(4, 5), training=True, num_classes=NUM_CLASSES):
    """Return two preprocessed images of noise with boxes, masks, labels (some 0) and a map of stuff."""
    data = demo_mm_inputs(2, (3, 96, 128), list(num_items), num_classes, with_mask=True, with_semantic=True)
    for sample in data['data_samples']:
        sample.gt_instances.labels[::2] = 0
        sample.set_metainfo(dict(scale_factor=(1., 1.)))
    return detector.data_preprocessor(data, training)


def losses(detector, num_items=(4, 5)):
    """Return the sum of all losses of one forward pass in training mode, and their log."""
    result = detector.train()(**inputs(detector, num_items), mode='loss')
    total, log = detector.parse_losses(result)
    return total, log


def with_direction(detector, alpha, momentum=0.5, steps=3):
    """Give all stages a head direction by forward passes in training mode, then test with ``alpha``."""
    for step in range(steps):
        torch.manual_seed(step)
        losses(detector)
        for head in heads_of(detector):
            head.fc_cls.update_direction(momentum)
    for head in heads_of(detector):
        head.fc_cls.alpha = alpha
    return detector.eval()


@torch.no_grad()
def predict(detector, num_items=(4, 5)):
    torch.manual_seed(0)
    return detector.eval()(**inputs(detector, num_items, training=False), mode='predict')


def given_to_nms(detector):
    """Return the probabilities (N, C + 1) of the last box head before NMS, and the classifier's input by stage."""
    probs, features = [], [[] for _ in heads_of(detector)]
    for xs, head in zip(features, heads_of(detector)):
        head.fc_cls.register_forward_pre_hook(lambda layer, args, xs=xs: xs.append(args[0]))
    head = heads_of(detector)[-1]
    by_feat = head._predict_by_feat_single

    def recording(roi, cls_score, *args, **kwargs):
        probs.append(class_probs(head, cls_score))
        return by_feat(roi, cls_score, *args, **kwargs)

    with mock.patch.object(head, '_predict_by_feat_single', recording):
        predict(detector)
    return torch.cat(probs), [torch.cat(xs) for xs in features]


@torch.no_grad()
def scores_of(detector):
    """Return logits and class scores (N, C + 1) of the first box head for random features."""
    head = heads_of(detector)[0].eval()
    cls_score = head(torch.randn(5, 16, 7, 7))[0]
    scores = head.loss_cls.get_activation(cls_score) if head.custom_activation else cls_score.softmax(-1)
    return cls_score, scores
