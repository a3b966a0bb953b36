_base_ = [
    '../_base_/models/resnext50_linear.py',
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/schedules/imagenet_90e.py',
    '../_base_/default_runtime.py',
]
