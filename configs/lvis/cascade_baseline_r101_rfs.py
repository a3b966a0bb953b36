_base_ = './cascade_baseline_r101.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        oversample_thr=1e-3,
        dataset=_base_.train_dataloader.dataset))
