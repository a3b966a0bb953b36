_base_ = './cascade_baseline_r101.py'
model = dict(
    type='HybridTaskCascade',
    roi_head=dict(
        type='mmcausal.LabelMaskHybridTaskCascadeRoIHead',
        interleaved=True,
        mask_info_flow=True,
        mask_head=[
            dict(_base_.model.roi_head.mask_head, type='HTCMaskHead', with_conv_res=stage > 0) for stage in range(3)
        ]))
