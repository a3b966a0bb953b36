_base_ = './linear_x50_90e.py'
model = dict(
    backbone=dict(
        _delete_=True, type='ResNet', depth=50, out_indices=(3, ), style='pytorch', zero_init_residual=False))
