_base_ = './ldam-drw_r32_ir100_source.py'
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(imbalance_ratio=50))
