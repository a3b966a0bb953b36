_base_ = './image_list.py'
data_preprocessor = dict(num_classes=1000)
dataset = dict(
    type='mmcausal.ImageNetLT', data_root='data/imagenet', train_ann_file='ImageNet_LT_train.txt',
    num_train_images=115846)
train_dataloader = dict(dataset=dict(**dataset, ann_file='ImageNet_LT_train.txt', num_images=115846))
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file='ImageNet_LT_val.txt', num_images=20000, md5='ef44f8e43fbc904809a77216042e7498'))
test_dataloader = dict(
    dataset=dict(
        **dataset, ann_file='ImageNet_LT_test.txt', num_images=50000, md5='467b330a78bb8245c16feea52be4c559'))
