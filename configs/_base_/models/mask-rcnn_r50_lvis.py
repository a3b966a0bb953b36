_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
model = dict(
    roi_head=dict(bbox_head=dict(num_classes=1203), mask_head=dict(num_classes=1203)),
    # LVIS evaluates the best 300 detections of an image
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)))
# For the configs with TDE. 0.9998 = 1 - (1 - 0.9) * 0.002, as the authors' detection code
head_direction_hook = dict(type='mmcausal.HeadDirectionHook', momentum=0.9998)
