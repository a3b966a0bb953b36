_base_ = [
    '../_base_/models/mask-rcnn_r50_lvis.py',
    '../_base_/datasets/lvis_v0.5.py',
    '../_base_/schedules/lvis_v0.5_20e.py',
    '../_base_/lvis_runtime.py',
]
num_classes = 1230
model = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)))
