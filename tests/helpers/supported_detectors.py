"""The detectors behind the tables of docs/supported.md, by the first cell of their row."""
from typing import Dict, NamedTuple, Optional

from helpers.detectors import NUM_CLASSES
from helpers.host_detectors import host_detector
from mmcausal.models import enable_detector_tde

FASTER_RCNN = 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
CASCADE = 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'
DYNAMIC = 'dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py'
DOUBLE_HEAD = 'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py'
GRID = 'grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco.py'
MASK_SCORING = 'ms_rcnn/ms-rcnn_r50_fpn_1x_coco.py'
PISA = 'pisa/faster-rcnn_r50_fpn_pisa_1x_coco.py'
POINT_REND = 'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py'
SCNET = 'scnet/scnet_r50_fpn_1x_coco.py'
TRIDENT = 'tridentnet/tridentnet_r50-caffe_1x_coco.py'
SPARSE = 'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py'
CROWD_DET = 'crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py'

# Configs of MMDetection of which both work: training with our RoI head, and TDE of the trained stock detector
HOST_CONFIGS_WITH_TDE: Dict[str, str] = {
    'Faster R-CNN': FASTER_RCNN,
    'Mask R-CNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'Cascade R-CNN, with masks': CASCADE,
    'HTC, with its semantic branch': 'htc/htc_r50_fpn_1x_coco.py',
    'SCNet': SCNET,
    'SABL on Faster R-CNN': 'sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py',
    'SABL on Cascade R-CNN': 'sabl/sabl-cascade-rcnn_r50_fpn_1x_coco.py',
    'Double-Head R-CNN': DOUBLE_HEAD,
    'Dynamic R-CNN': DYNAMIC,
    'Grid R-CNN': GRID,
    'Mask Scoring R-CNN': MASK_SCORING,
    'PISA': PISA,
    'PointRend': POINT_REND,
    'TridentNet': TRIDENT,
    'Libra R-CNN': 'libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py',
    'Panoptic FPN': 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
    'Cascade RPN': 'cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py',
}


class Refused(NamedTuple):
    """A config of MMDetection with a RoI head of ours that is not its own, or a stock detector at test time."""
    path: str
    roi_head: Optional[str] = None

    def build(self):
        if self.roi_head is None:
            return enable_detector_tde(host_detector(self.path), 0.)
        return host_detector(self.path, tde=f'mmcausal.{self.roi_head}')


REFUSED: Dict[str, Refused] = {
    'Dynamic R-CNN': Refused(DYNAMIC, 'TDEStandardRoIHead'),
    'PISA': Refused(PISA, 'TDEStandardRoIHead'),
    'Double-Head R-CNN': Refused(DOUBLE_HEAD, 'TDEStandardRoIHead'),
    'Grid R-CNN': Refused(GRID, 'TDEStandardRoIHead'),
    'Mask Scoring R-CNN': Refused(MASK_SCORING, 'TDEStandardRoIHead'),
    'PointRend': Refused(POINT_REND, 'TDEStandardRoIHead'),
    'TridentNet': Refused(TRIDENT, 'TDEStandardRoIHead'),
    'Cascade R-CNN': Refused(CASCADE, 'TDEStandardRoIHead'),
    'SCNet': Refused(SCNET, 'TDECascadeRoIHead'),
    'Sparse R-CNN': Refused(SPARSE, 'TDECascadeRoIHead'),
    'CrowdDet': Refused(CROWD_DET, 'TDEStandardRoIHead'),
    'Sparse R-CNN, trained': Refused(SPARSE),
    'CrowdDet, trained': Refused(CROWD_DET),
    'RetinaNet': Refused('retinanet/retinanet_r50_fpn_1x_coco.py'),
    'FCOS': Refused('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'),
    'DETR': Refused('detr/detr_r50_8xb2-150e_coco.py'),
    'YOLOX': Refused('yolox/yolox_s_8xb8-300e_coco.py'),
    'Mask2Former': Refused('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'),
    'Soft Teacher': Refused('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'),
}
LOSSES: Dict[str, dict] = {
    '`CrossEntropyLoss`': dict(type='CrossEntropyLoss'),
    '`CrossEntropyLoss(use_sigmoid=True)`': dict(type='CrossEntropyLoss', use_sigmoid=True),
    '`FocalLoss`': dict(type='FocalLoss'),
    '`SeesawLoss`': dict(type='SeesawLoss', num_classes=NUM_CLASSES),
    '`EQLV2Loss`, `mmcausal.EQLV2Loss`': dict(type='mmcausal.EQLV2Loss', num_classes=NUM_CLASSES),
    '`CrossEntropyCustomLoss`': dict(type='CrossEntropyCustomLoss', num_classes=NUM_CLASSES),
    '`mmcausal.SoftmaxFocalLoss`': dict(type='mmcausal.SoftmaxFocalLoss'),
    '`mmcausal.EqualizationLoss`': dict(type='mmcausal.EqualizationLoss'),
}
