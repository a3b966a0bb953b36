_base_ = './cascade_baseline_r101_lvis-v0.5.py'
no_bias = dict(type='Linear', bias=False)  # as the authors' code for v0.5
model = dict(
    type='HybridTaskCascade',
    roi_head=dict(
        type='mmcausal.LabelMaskHybridTaskCascadeRoIHead',
        interleaved=True,
        mask_info_flow=True,
        bbox_head=[dict(head, cls_predictor_cfg=no_bias) for head in _base_.model.roi_head.bbox_head],
        mask_head=[
            dict(_base_.model.roi_head.mask_head, type='HTCMaskHead', with_conv_res=stage > 0) for stage in range(3)
        ]))
