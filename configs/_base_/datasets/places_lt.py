_base_ = './image_list.py'
data_preprocessor = dict(num_classes=365)
dataset = dict(
    type='mmcausal.ImageList', num_classes=365, data_root='data/places365', train_ann_file='Places_LT_train.txt')
train_dataloader = dict(dataset=dict(**dataset, ann_file='Places_LT_train.txt', num_images=62500))
val_dataloader = dict(dataset=dict(**dataset, ann_file='Places_LT_val.txt', num_images=7300))
test_dataloader = dict(dataset=dict(**dataset, ann_file='Places_LT_test.txt', num_images=36500))
