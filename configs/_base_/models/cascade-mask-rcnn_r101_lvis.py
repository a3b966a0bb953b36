_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'
num_classes = 1203
model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')),
    roi_head=dict(
        type='mmcausal.LabelMaskCascadeRoIHead',
        bbox_head=[dict(head, num_classes=num_classes) for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(num_classes=num_classes)),
    # LVIS evaluates the best 300 detections of an image
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)))
