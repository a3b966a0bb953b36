_base_ = './image_list.py'
data_preprocessor = dict(num_classes=8142)
dataset = dict(
    type='mmcausal.ImageList', num_classes=8142, data_root='data/inat18', train_ann_file='iNaturalist18_train.txt',
    num_train_images=437513)
train_dataloader = dict(dataset=dict(**dataset, ann_file='iNaturalist18_train.txt', num_images=437513))
val_dataloader = dict(dataset=dict(**dataset, ann_file='iNaturalist18_val.txt', num_images=24426))
# The labels of the test images are not public
test_dataloader = val_dataloader
