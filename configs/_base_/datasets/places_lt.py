_base_ = './image_list.py'
data_preprocessor = dict(num_classes=365)
dataset = dict(
    type='mmcausal.ImageList', num_classes=365, data_root='data/places365', train_ann_file='Places_LT_train.txt',
    num_train_images=62500)
train_dataloader = dict(
    dataset=dict(
        **dataset, ann_file='Places_LT_train.txt', num_images=62500, md5='e7795ab1bf428a89f900854127b1e556'))
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file='Places_LT_val.txt', num_images=7300, md5='2f6e727cd6c99c7b7fdecc9876875b1b'))
test_dataloader = dict(
    dataset=dict(
        **dataset, ann_file='Places_LT_test.txt', num_images=36500, md5='1347af35b053bd31cf782256306affe7'))
