_base_ = './image_list.py'
data_preprocessor = dict(num_classes=1000)
dataset = dict(
    type='mmcausal.ImageNetLT', data_root='data/imagenet', train_ann_file='ImageNet_LT_train.txt')
train_dataloader = dict(dataset=dict(**dataset, ann_file='ImageNet_LT_train.txt', num_images=115846))
val_dataloader = dict(dataset=dict(**dataset, ann_file='ImageNet_LT_val.txt', num_images=20000))
test_dataloader = dict(dataset=dict(**dataset, ann_file='ImageNet_LT_test.txt', num_images=50000))
