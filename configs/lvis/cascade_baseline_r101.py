_base_ = [
    '../_base_/models/cascade-mask-rcnn_r101_lvis.py',
    '../_base_/datasets/lvis_v1.py',
    'mmdet::_base_/schedules/schedule_20e.py',
    '../_base_/lvis_runtime.py',
]
