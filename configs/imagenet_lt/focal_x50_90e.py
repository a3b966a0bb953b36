_base_ = './linear_x50_90e.py'
# On the softmax, as in the authors' code of TDE
model = dict(head=dict(loss=dict(_delete_=True, type='mmcausal.SoftmaxFocalLoss', gamma=2., detach_modulator=True)))
