_base_ = './linear_r32_ir100.py'
# 128 pairs of images and the optimiser of BBN's authors
model = dict(type='mmcausal.BBNClassifier')
train_dataloader = dict(batch_size=256, sampler=dict(_delete_=True, type='mmcausal.TwoBranchSampler'))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=2e-4, nesterov=True))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.CumulativeLearningHook')]
