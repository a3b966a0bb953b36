_base_ = './linear_x50_90e.py'
# Nothing is trained: it tests the checkpoint of the linear config
load_from = 'work_dirs/linear_x50_90e/epoch_90.pth'
train_cfg = train_dataloader = optim_wrapper = param_scheduler = None
model = dict(head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.TauNormLinear', exponent=0.7)))
