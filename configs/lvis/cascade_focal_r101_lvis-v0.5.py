_base_ = './cascade_baseline_r101_lvis-v0.5.py'
loss_cls = dict(type='mmcausal.SoftmaxFocalLoss', detach_modulator=True)
model = dict(
    roi_head=dict(bbox_head=[dict(head, loss_cls=loss_cls) for head in _base_.model.roi_head.bbox_head]))
