_base_ = [
    '../_base_/models/cascade-mask-rcnn_r101_lvis.py',
    '../_base_/datasets/lvis_v0.5.py',
    '../_base_/schedules/lvis_v0.5_20e.py',
    '../_base_/lvis_runtime.py',
]
num_classes = 1230
model = dict(
    roi_head=dict(
        bbox_head=[dict(head, num_classes=num_classes) for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(num_classes=num_classes)))
