_base_ = './cascade_baseline_r101.py'
# use_distributed=True on several ranks
loss_cls = dict(type='mmcausal.EQLV2Loss', num_classes=1203)
init_cfg = [  # the host's, with a bias: at first, every class is as improbable as it is rare
    dict(type='Normal', std=0.01, bias=-6.5, override=dict(name='fc_cls')),
    dict(type='Normal', std=0.001, override=dict(name='fc_reg')),
    dict(type='Xavier', distribution='uniform', override=[
        dict(name='shared_fcs'), dict(name='cls_fcs'), dict(name='reg_fcs')]),
]
model = dict(
    roi_head=dict(bbox_head=[
        dict(head, loss_cls=loss_cls, init_cfg=init_cfg) for head in _base_.model.roi_head.bbox_head]))
