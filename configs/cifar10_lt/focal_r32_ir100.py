_base_ = './linear_r32_ir100.py'
# The focal loss of Cui et al., CVPR 2019: no weights of positives (alpha), and classes as rare as they are at first
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='FocalLoss', alpha=0.5, loss_weight=2.),
        init_cfg=dict(_delete_=True, type='Normal', layer='Linear', std=0.01, bias_prob=0.1)))
