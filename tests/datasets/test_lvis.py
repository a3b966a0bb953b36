"""Wrong annotation files and image folders of LVIS."""
import json

import pytest
from helpers.runners import shapes_cfg

from mmcausal.registry import DATASETS


@pytest.mark.parametrize('change, error, words', [
    (dict(type='mmcausal.LVISV1Dataset'), ValueError,
     'must have the 1203 classes of the dataset, but has 24 categories'),
    (dict(metainfo=dict(classes=tuple(map(str, range(24))))), ValueError,
     'the categories of .* must be the classes of the dataset, but 24 differ'),
    (dict(data_prefix=dict(img='nowhere')), FileNotFoundError, 'nowhere.*, the first image .* is missing'),
])
def test_wrong_annotations_and_folders(shapes, tmp_path, change, error, words):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path).train_dataloader.dataset
    cfg.update(change, pipeline=[])
    with pytest.raises(error, match=words):
        DATASETS.build(cfg)


def test_images_of_each_folder_are_looked_for(shapes, tmp_path):
    truth = json.loads((shapes / 'annotations/shapes_train.json').read_text())
    truth['images'][-1]['coco_url'] = 'http://images.cocodataset.org/forgotten/1.jpg'
    (tmp_path / 'train.json').write_text(json.dumps(truth))
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path).train_dataloader.dataset
    cfg.update(ann_file=str(tmp_path / 'train.json'), pipeline=[], filter_cfg=None)
    with pytest.raises(FileNotFoundError, match='forgotten.1.jpg, the first image .* in its folder, is missing'):
        DATASETS.build(cfg)
