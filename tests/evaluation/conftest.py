"""A small dataset in LVIS format."""
import json

import pytest
from helpers.lvis_data import small_truth


@pytest.fixture(scope='session')
def truth():
    return small_truth()


@pytest.fixture(scope='session')
def ann_file(truth, tmp_path_factory):
    """The annotation file of ``truth``."""
    file = tmp_path_factory.mktemp('lvis') / 'small.json'
    annotations = [{k: v for k, v in a.items() if k != 'mask'} for a in truth['annotations']]
    file.write_text(json.dumps(dict(truth, annotations=annotations)))
    return str(file)
