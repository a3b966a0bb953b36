_base_ = './linear_x50_90e.py'
# On sigmoids, as in Cui et al., CVPR 2019: no weights of positives (alpha), and a dense layer that starts with Glorot
# weights and a bias by which each class has the probability 1 / C, without weight decay of that bias
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='mmcausal.ClassBalancedLoss',
            loss=dict(type='FocalLoss', gamma=1., alpha=0.5, loss_weight=2.)),
        init_cfg=dict(_delete_=True, type='Xavier', layer='Linear', distribution='uniform', bias_prob=0.001)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc.bias': dict(decay_mult=0.)}))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
