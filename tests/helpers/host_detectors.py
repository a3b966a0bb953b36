"""MMDetection's own detectors, from its configs, in a small size."""
import copy
from pathlib import Path

import mmdet
import torch
from mmdet.models.backbones.trident_resnet import TridentConv
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn

from helpers.detectors import as_list
from mmcausal.registry import MODELS

HOST_CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'
NARROW = {
    'fc_out_channels': 32, 'cls_out_channels': 32, 'num_convs': 1, 'conv_out_channels': 16, 'feat_channels': 16,
    'fc_channels': 16, 'out_conv_channels': 16, 'cls_in_channels': 16, 'reg_in_channels': 16,
    'reg_offset_out_channels': 16, 'reg_cls_out_channels': 16, 'point_feat_channels': 8, 'num_groups': 4,
    'out_channels': 16, 'subdivision_num_points': 49, 'num_fcs': 2}
CHANGES = {
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py': {'bbox_head.feat_channels': 32},
    'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py': {'roi_head.bbox_head.conv_out_channels': 32},
    'scnet/scnet_r50_fpn_1x_coco.py': {'roi_head.feat_relay_head.in_channels': 32},
    'tridentnet/tridentnet_r50-caffe_1x_coco.py': {
        'backbone': dict(type='TridentResNet', depth=50, base_channels=8, num_stages=3, strides=(1, 2, 2),
                         dilations=(1, 1, 1), out_indices=(2, ), norm_cfg=dict(type='BN'), trident_dilations=(1, 2, 3),
                         num_branch=3, test_branch_idx=1),
        'roi_head.shared_head': None, 'rpn_head.in_channels': 128, 'roi_head.bbox_head.in_channels': 128,
        'roi_head.bbox_roi_extractor.out_channels': 128, 'roi_head.bbox_roi_extractor.roi_layer.output_size': 7,
        'train_cfg.rcnn.sampler.add_gt_as_proposals': True},
}


def narrow(node):
    """Make the layers of a config narrow, in place, and its classes few."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            narrow(value)
    for key in set(NARROW) & set(node) if isinstance(node, dict) else ():
        if isinstance(node[key], int) and node[key] > NARROW[key]:
            node[key] = NARROW[key]
    if isinstance(node, dict):
        if node.get('in_channels') in (256, 1024, 2048):
            node['in_channels'] = 16
        if node.get('num_classes') == 80:
            node['num_classes'] = 6


def host_model_cfg(path):
    """Return the model of a config of MMDetection with a narrow ResNet-18, few proposals and six classes."""
    model = Config.fromfile(HOST_CONFIGS / path).model
    narrow(model)
    if 'backbone' in model:
        model.backbone = dict(type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
                              norm_cfg=dict(type='BN'))
    for neck in as_list(model.get('neck') or []):
        if neck.type == 'FPN':
            neck.in_channels = [8, 16, 32, 64]
    if 'roi_head' in model and 'rpn_proposal' in model.train_cfg:
        for cfg in as_list(model.train_cfg.rcnn):
            cfg.sampler.num = 64
        model.train_cfg.rpn_proposal.max_per_img = 100
        model.test_cfg.rpn.max_per_img = 50
        model.test_cfg.rcnn.max_per_img = 20
    config = Config(dict(model=model))
    config.merge_from_dict({f'model.{key}': value for key, value in CHANGES.get(path, {}).items()})
    return config.model


def host_detector(path, tde=None, loss_cls=None, **roi_head):
    """Return a small detector of a config of MMDetection, with changes to its RoI head.

    Args:
        path: Path of the config.
        tde: ``True`` for the RoI head of this package that belongs to the host's, or the type of another.
        loss_cls: Another loss of the only box head.
        **roi_head: Changes to the RoI head.
    """
    register_all_modules()
    cfg = copy.deepcopy(host_model_cfg(path))
    if tde:
        roi_head['type'] = f'mmcausal.TDE{cfg.roi_head.type}' if tde is True else tde
    if roi_head:
        cfg.roi_head.update(roi_head)
    if loss_cls:
        cfg.roi_head.bbox_head.loss_cls = loss_cls  # update() would merge
    torch.manual_seed(0)
    detector = MODELS.build(cfg)
    for module in detector.modules():
        if isinstance(module, TridentConv):  # the host leaves its weights as memory has them
            nn.init.kaiming_normal_(module.weight)
    return detector
