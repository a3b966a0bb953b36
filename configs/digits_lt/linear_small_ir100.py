_base_ = [
    '../_base_/models/small_digits.py',
    '../_base_/datasets/digits_lt.py',
    '../_base_/schedules/digits_60e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(imbalance_ratio=100))
val_dataloader = dict(dataset=dict(imbalance_ratio=100))
test_dataloader = dict(dataset=dict(imbalance_ratio=100))
