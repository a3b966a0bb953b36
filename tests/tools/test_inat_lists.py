"""Image lists from the annotations of iNaturalist."""
import json
import sys

from helpers.commands import run


def test_lists_of_inaturalist(tmp_path):
    (tmp_path / 'train.json').write_text(json.dumps(dict(
        images=[dict(id=7, file_name='a/x.jpg'), dict(id=3, file_name='b/y.jpg')],
        annotations=[dict(id=1, image_id=3, category_id=0), dict(id=2, image_id=7, category_id=2)])))
    run(sys.executable, 'tools/dataset_converters/inat_lists.py', tmp_path / 'train.json', tmp_path / 'list.txt')
    assert (tmp_path / 'list.txt').read_text() == 'a/x.jpg 2\nb/y.jpg 0\n'
