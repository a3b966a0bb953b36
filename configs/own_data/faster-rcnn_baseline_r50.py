_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/own_coco_boxes.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/own_data_runtime.py',
]
