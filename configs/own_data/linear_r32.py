# Small images, about 32 x 32 pixels, from scratch
_base_ = [
    '../_base_/models/resnet32_cifar.py',
    '../_base_/datasets/own_folder_32px.py',
    '../_base_/schedules/fine-tune_30e.py',
    '../_base_/default_runtime.py',
]
# 0.1 for 128 images, as on CIFAR
optim_wrapper = dict(optimizer=dict(lr=0.025))
