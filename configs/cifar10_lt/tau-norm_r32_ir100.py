_base_ = './linear_r32_ir100.py'
# Nothing is trained: it tests the checkpoint of the linear config
load_from = 'work_dirs/linear_r32_ir100/epoch_200.pth'
train_cfg = train_dataloader = optim_wrapper = param_scheduler = None
model = dict(head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.TauNormLinear', exponent=0.7)))
