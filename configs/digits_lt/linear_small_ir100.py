_base_ = [
    '../_base_/models/small_digits.py',
    '../_base_/datasets/digits_lt.py',
    '../_base_/schedules/digits_60e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(imbalance_ratio=100))
