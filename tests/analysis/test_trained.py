"""Folders for the features of trained models."""
from mmcausal.analysis import features_folder


def test_other_features_go_to_another_folder():
    identities = [dict(pipeline='x', dataset='y'), dict(pipeline='z', dataset='y'), dict(pipeline='x', dataset='z')]
    folders = {features_folder('a/config.py', 'val', 'float32', identity) for identity in identities}
    folders.add(features_folder('a/config.py', 'val', 'float16', identities[0]))
    assert len(folders) == 4 and all(folder.name.startswith('config_val_') for folder in folders)
    assert features_folder('a/config.py', 'val', 'float32', dict(reversed(identities[0].items()))) in folders
