"""Unreadable images in training."""
import numpy as np
import pytest
from helpers.data import LIST, write_image
from helpers.data import build_image_list as build

from mmcausal.registry import TRANSFORMS


def test_unreadable_images_are_named_counted_and_passed_over_as_configured(tmp_path, caplog):
    for line in LIST:
        write_image(tmp_path / line.split()[0])
    (tmp_path / 'a/0.jpg').write_bytes(b'no image')
    (tmp_path / 'a/1.jpg').unlink()
    pipeline = [TRANSFORMS.build(dict(type='mmcausal.LoadImage', max_unreadable=2))]
    dataset = build(tmp_path, pipeline=pipeline, max_refetch=100)
    np.random.seed(0)
    assert dataset[2]['img'].shape == (40, 40, 3)
    broken = [dataset.prepare_data(i) for i in (0, 1)]
    assert broken == [None, None] and len(pipeline[0].unreadable) == 2
    assert dataset.prepare_data(0) is None  # known by now
    (tmp_path / 'b/2.jpg').unlink()
    with pytest.raises(ValueError, match=r'unreadable image number 3, .*b/2.jpg: FileNotFoundError.*unreadable=2'):
        dataset[2]
    with pytest.raises(ValueError, match='unreadable image number 1, .*a/0.jpg'):
        build(tmp_path, pipeline=[TRANSFORMS.build(dict(type='mmcausal.LoadImage'))])[0]
