_base_ = './cascade_baseline_r101.py'
loss_cls = dict(type='SeesawLoss', p=0.8, q=2.0, num_classes=1203, loss_weight=1.0)
model = dict(
    roi_head=dict(bbox_head=[dict(head, loss_cls=loss_cls) for head in _base_.model.roi_head.bbox_head]))
