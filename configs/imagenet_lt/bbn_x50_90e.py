_base_ = './linear_x50_90e.py'
# Pairs of images: twice as many
model = dict(
    type='mmcausal.BBNClassifier', backbone=dict(type='mmcausal.TwinResNeXt'), head=dict(in_channels=4096))
train_dataloader = dict(batch_size=128, sampler=dict(_delete_=True, type='mmcausal.TwoBranchSampler'))
optim_wrapper = dict(optimizer=dict(nesterov=True))  # as in BBN's code, whatever the data
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=1024)
