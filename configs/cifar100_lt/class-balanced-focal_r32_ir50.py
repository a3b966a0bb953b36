_base_ = './class-balanced-focal_r32_ir100.py'
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(imbalance_ratio=50))
model = dict(head=dict(loss=dict(beta=0.99)))
