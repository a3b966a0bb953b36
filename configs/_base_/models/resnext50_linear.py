_base_ = 'mmpretrain::_base_/models/resnext50_32x4d.py'
# As the authors: the last batch norm of a block starts at 1, and PyTorch's own initialisation, U(-1/sqrt(D), 1/sqrt(D))
model = dict(backbone=dict(zero_init_residual=False), head=dict(init_cfg=None))
