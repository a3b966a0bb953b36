_base_ = 'mmpretrain::_base_/models/resnext50_32x4d.py'
# PyTorch's own initialisation, U(-1/sqrt(D), 1/sqrt(D)), as the authors
model = dict(head=dict(init_cfg=None))
