_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
model = dict(
    roi_head=dict(
        type='mmcausal.LabelMaskStandardRoIHead',
        bbox_head=dict(num_classes=1203),
        mask_head=dict(num_classes=1203)),
    # LVIS evaluates the best 300 detections of an image
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)))
