_base_ = './linear_r32_ir10.py'
# 128 pairs of images, and lr, as the authors of BBN
model = dict(type='mmcausal.BBNClassifier')
train_dataloader = dict(batch_size=256, sampler=dict(_delete_=True, type='mmcausal.TwoBranchSampler'))
optim_wrapper = dict(optimizer=dict(lr=0.1))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.CumulativeLearningHook')]
