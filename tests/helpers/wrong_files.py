"""Files that no tool should take, by name, beside some that they should."""
import json
import os
import pickle
import shutil
import tarfile

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from helpers.commands import CONFIGS
from mmcausal.registry import MODELS

CONFIG_TEXTS = {
    'config': f"_base_ = '{CONFIGS}/digits_lt/deconfound-tde_small_ir100.py'",
    'baseline': f"_base_ = '{CONFIGS}/digits_lt/linear_small_ir100.py'",
    'config_syntax': 'model = dict(\n',
    'config_no_base': "_base_ = './not_there.py'\n",
    'config_name': 'model = dict(type=undefined)\n',
    'config_import': 'import not_there\n',
    'config_empty': '',
    'config_model': "_base_ = './config.py'\nmodel = None\n",
    'config_number': 'model = 1\n',
    'config_type': "_base_ = './config.py'\nmodel = dict(head=dict(type='mmcausal.DeconfoundHed'))\n",
    'config_argument': "_base_ = './config.py'\nmodel = dict(head=dict(taau=3))\n",
    'config_value': "_base_ = './config.py'\nmodel = dict(head=dict(num_heads=-1))\n",
    'config_scope': "_base_ = './config.py'\ndefault_scope = 'mmfoo'\n",
    'config_no_val': "_base_ = './config.py'\nval_dataloader = val_evaluator = val_cfg = None\n",
    'config_no_test': "_base_ = './config.py'\ntest_dataloader = test_evaluator = test_cfg = None\n",
    'config_no_shots': "_base_ = './config.py'\nval_evaluator = dict(_delete_=True, type='Accuracy')\n",
    'config_shots': '''_base_ = './config.py'
_base_.val_evaluator[1].update(many=5, few=30)
val_evaluator = _base_.val_evaluator
''',
    'config_data': "_base_ = './config.py'\nval_dataloader = dict(dataset=dict(imbalance_ratio='abc'))\n",
    'detector': f"_base_ = '{CONFIGS}/shapes_lvis/cascade_tde_r18.py'",
}

DIRECTION = ('mean_feature', 'mean_cosine', 'num_updates')


def _digits(**changes):
    cfg = Config.fromfile(CONFIGS / 'digits_lt' / 'deconfound-tde_small_ir100.py')
    cfg.merge_from_dict(changes)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.head.fc.mean_feature.fill_(1.)
    model.head.fc.mean_cosine.fill_(0.5)
    model.head.fc.num_updates.fill_(1)
    return model.state_dict()


class RunsCommand:
    """An object that creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker), )


def write_configs(root):
    for name, text in CONFIG_TEXTS.items():
        (root / f'{name}.py').write_text(text, encoding='utf-8')
    (root / 'config_latin.py').write_bytes('name = "café"\n'.encode('latin-1'))
    (root / 'config_folder.py').mkdir()
    (root / 'config_text.txt').write_text('model')


def write_checkpoints(root):
    state = _digits()
    torch.save(dict(state_dict=state), root / 'good.pth')
    content = (root / 'good.pth').read_bytes()
    (root / 'empty.pth').write_bytes(b'')
    (root / 'truncated.pth').write_bytes(content[:len(content) // 2])
    (root / 'flipped.pth').write_bytes(content[:9999] + bytes([255 - content[9999]]) + content[10000:])
    (root / 'garbage.pth').write_bytes(b'no checkpoint at all' * 99)
    (root / 'folder.pth').mkdir()
    with tarfile.open(root / 'tar.pth', 'w') as archive:  # of the first releases of PyTorch
        archive.add(root / 'garbage.pth', 'pickle')
    torch.save([1, 2], root / 'list.pth')
    torch.save(dict(epoch=1), root / 'no_weights.pth')
    torch.save(dict(state_dict=state, meta=RunsCommand(root / 'ran')), root / 'evil.pth')
    (root / 'pickle.pth').write_bytes(pickle.dumps(dict(state_dict=RunsCommand(root / 'ran'))))
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(root / 'program.pth'))
    torch.save({name: value for name, value in state.items() if not name.endswith(DIRECTION)}, root / 'undirected.pth')
    torch.save({**state, 'head.fc.mean_cosine': torch.tensor(-0.1)}, root / 'opposed.pth')
    torch.save({name: value for name, value in state.items() if 'backbone' not in name}, root / 'headed.pth')
    torch.save({'encoder.weight': torch.ones(3, 3)}, root / 'other.pth')
    torch.save(_digits(**{'model.head.num_classes': 7}), root / 'classes.pth')
    torch.save({**state, 'head.fc.weight': torch.ones(10, 5), 'head.fc.mean_feature': torch.ones(5)},
               root / 'narrow.pth')


def write_images(root):
    Image.new('L', (8, 8), 99).save(root / 'image.png')
    (root / 'image_text.png').write_text('no image')
    (root / 'image_empty.png').write_bytes(b'')
    (root / 'image_folder.png').mkdir()
    (root / 'image_cut.png').write_bytes((root / 'image.png').read_bytes()[:40])


def write_annotations(root):
    def write(name, content):
        (root / f'{name}.json').write_text(content if isinstance(content, str) else json.dumps(content))

    categories = [dict(id=1, name='a'), dict(id=2, name='b')]
    images = [dict(id=number, file_name=f'{number}.jpg') for number in range(6)]
    annotations = [dict(id=number, image_id=number, category_id=1 + number % 2) for number in range(6)]
    good = dict(images=images, categories=categories, annotations=annotations)
    write('coco', good)
    write('coco_text', 'images: none')
    write('coco_cut', json.dumps(good)[:99])
    write('coco_list', [good])
    write('coco_number', 3)
    write('coco_missing', dict(images=images))
    write('coco_empty', dict(images=[], categories=[], annotations=[]))
    write('coco_no_names', dict(good, categories=[dict(id=1), dict(id=2)]))
    write('coco_no_ids', dict(good, images=[dict(file_name='0.jpg')]))
    write('coco_strings', dict(good, annotations=['a', 'b']))
    write('coco_other_category', dict(good, annotations=[dict(id=0, image_id=0, category_id=9)]))
    write('coco_no_image', dict(good, annotations=[dict(id=0, image_id=77, category_id=1)]))
    write('coco_no_category', dict(good, annotations=[dict(id=0, image_id=0)]))
    write('coco_twice', dict(good, images=[*images, dict(id=9, file_name='0.jpg')]))
    (root / 'coco_latin.json').write_bytes('{"images": ["é"]}'.encode('latin-1'))
    (root / 'coco_folder.json').mkdir()


def write_wrong_files(root):
    for write in (write_configs, write_checkpoints, write_images, write_annotations):
        write(root)
    (root / 'file').write_text('a file')
    (root / 'empty_folder').mkdir()
    for name in ('a/0.png', 'a/1.png', 'b/0.png', 'b/1.png'):
        (root / 'classes' / name).parent.mkdir(parents=True, exist_ok=True)
        (root / 'classes' / name).write_bytes((root / 'image.png').read_bytes())


def write_wrong_stores(root):
    """Write damaged copies of the folder ``store``, which has the features of a split."""
    def copy(name):
        return shutil.copytree(root / 'store', root / f'store_{name}')

    identity = json.loads((root / 'store' / 'identity.json').read_text())
    number = len(np.load(root / 'store' / 'labels.npy'))
    for name, text in dict(json='{', list='[1]', other=json.dumps(dict(identity, checkpoint='abc'))).items():
        (copy(name) / 'identity.json').write_text(text)
    for name, text in dict(done='many', negative='-5', many='999999').items():
        (copy(name) / 'num_done').write_text(text)
    features = copy('cut') / 'features.npy'
    features.write_bytes(features.read_bytes()[:500])
    (copy('garbage') / 'features.npy').write_text('no array')
    np.save(copy('objects') / 'features.npy', np.array([RunsCommand(root / 'ran')] * number), allow_pickle=True)
    np.save(copy('channels') / 'features.npy', np.zeros((number, 3), np.float32))
    (copy('halved') / 'labels.npy').unlink()


def write_wrong_proposals(root):
    """Write damaged copies of the folder ``store``, which has the proposals of two images."""
    def copy(name):
        return shutil.copytree(root / 'store', root / f'store_{name}') / '00000001.npz'

    path = copy('cut')
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    copy('text').write_text('no archive')
    np.savez(copy('objects'), img_meta=np.array([RunsCommand(root / 'ran')]))
    path = copy('shapes')
    arrays = dict(np.load(path))
    np.savez(path, **dict(arrays, features_0=arrays['features_0'][:2]))
    copy('gap').with_name('00000000.npz').unlink()
    torch.save(dict(rois=RunsCommand(root / 'ran')), copy('old').with_name('00000002.pt'))
