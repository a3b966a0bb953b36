_base_ = './linear_r32_ir100.py'
# To choose a correction of the classifier: 25 training images of each class are set aside as the validation split.
train_dataloader = test_dataloader = dict(dataset=dict(val_per_class=25))
val_dataloader = dict(dataset=dict(split='val', val_per_class=25))
