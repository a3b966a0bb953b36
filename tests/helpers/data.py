"""Small images and lists, and the options that make the configs read them."""
import numpy as np
from mmengine.registry import init_default_scope
from PIL import Image

from mmcausal.registry import DATASETS

# Of the packed training files
CIFAR100_MD5 = dict(train='f8e2a46b1eb207ecdef86497d462cacd')
CIFAR10_MD5 = dict(data_batch_1='0ffe797fbab165e73ceb58fac8e2da62', data_batch_2='0fe4834a9a9899a9f01a6d297b7aa9f4',
                   data_batch_3='1254ee3ea9b4ba6bac536f39980bd604', data_batch_4='ecf5569fe1a5c7385868326de577a4c7',
                   data_batch_5='744a1301fe0c8a5e4de37c55dac80125')
LIST = ['a/0.jpg 0', 'a/1.jpg 0', 'b/2.jpg 1']


def build_image_list(folder, lines=LIST, **kwargs):
    (folder / 'list.txt').write_text('\n'.join(lines) + '\n')
    init_default_scope('mmpretrain')
    arguments = dict(type='mmcausal.ImageList', data_root=str(folder), ann_file='list.txt', num_classes=3)
    return DATASETS.build({**arguments, **kwargs})


def write_image(path, seed=0, size=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)


def read_files(folder):
    """Return the content of each file below a folder, by its path in it."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def imagenet_lt_options(root, *more):
    """Return arguments that make an ImageNet-LT config read the lists in ``root`` with a narrow network."""
    # 16 channels: with 8, PyTorch 2.1's oneDNN overruns its memory in channels_last on some AVX-512 processors.
    changes = ['randomness.seed=0', 'randomness.deterministic=True', 'model.backbone.base_channels=16',
               'model.backbone.stem_channels=16', 'model.head.in_channels=128', 'env_cfg.mp_cfg.mp_start_method=fork']
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        changes += [f'{loader}.dataset.data_root={root}', f'{loader}.dataset.num_images=None',
                    f'{loader}.dataset.num_train_images=None',
                    f'{loader}.dataset.md5=None', f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
    return ['--cfg-options', *changes, *more]
