# For transformers and ConvNeXt
_base_ = './fine-tune_30e.py'
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05))
