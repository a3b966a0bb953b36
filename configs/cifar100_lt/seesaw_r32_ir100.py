_base_ = './linear_r32_ir100.py'
model = dict(head=dict(loss=dict(_delete_=True, type='SeesawLoss', num_classes=100)))
