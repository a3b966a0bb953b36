_base_ = './deconfound_r32_ir100.py'
# Nothing is trained: it tests the checkpoint of the deconfound config
load_from = 'work_dirs/deconfound_r32_ir100/epoch_200.pth'
train_cfg = train_dataloader = optim_wrapper = param_scheduler = None
model = dict(
    head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.LogitAdjustedDeconfoundLinear')))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
