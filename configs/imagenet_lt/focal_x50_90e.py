_base_ = './linear_x50_90e.py'
model = dict(head=dict(loss=dict(_delete_=True, type='FocalLoss')))
