_base_ = [
    '../_base_/models/resnet32_cifar.py',
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(imbalance_ratio=100))
