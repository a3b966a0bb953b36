# Photos in one folder per class: data_root/{train,val,test}/CLASS/IMAGE
_base_ = './image_list.py'
data_root = 'data/own'
train_dataloader = dict(
    batch_size=32, num_workers=2, dataset=dict(type='mmcausal.ImageFolder', data_root=data_root, split='train'))
val_dataloader = dict(
    batch_size=32, num_workers=2, dataset=dict(type='mmcausal.ImageFolder', data_root=data_root, split='val'))
test_dataloader = dict(
    batch_size=32, num_workers=2, dataset=dict(type='mmcausal.ImageFolder', data_root=data_root, split='test'))

val_evaluator = [
    dict(type='Accuracy', topk=(1, )),
    dict(type='mmcausal.ShotAccuracy', classwise=True),
]
test_evaluator = val_evaluator
