"""The demo and the inferencers of the hosts, on single images and checkpoints of this package."""

import numpy as np
import pytest
import torch
from helpers.commands import IMAGENET_LT, ROOT
from helpers.data import write_image
from helpers.in_process import call, run_tool
from helpers.runners import save_untrained_resnet10
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal.analysis import write_alpha_config
from mmcausal.registry import MODELS


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """An untrained ResNet-10 with a head direction."""
    return save_untrained_resnet10(tmp_path_factory.mktemp('demo') / 'r10.pth')


def test_the_demo_shows_both(checkpoint, tmp_path):
    write_image(tmp_path / 'image.jpg')
    output = run_tool('demo.py', tmp_path / 'image.jpg', IMAGENET_LT, checkpoint, '--alpha', '2',
                      '--out', tmp_path / 'demo.png')
    table = output[output.index('total effect'):].splitlines()
    assert table[0].split() == ['total', 'effect', 'TDE,', 'alpha', '2.00'] and len(table) == 7
    assert all(line.count('%') == 2 for line in table[1:6])
    assert (tmp_path / 'demo.png').stat().st_size > 10000
    assert 'is not a file' in run_tool('demo.py', 'nowhere.jpg', IMAGENET_LT, checkpoint, status=2)


def test_the_demo_takes_a_stock_classifier_with_an_estimated_direction(tmp_path):
    config = 'configs/imagenet_lt/linear_r10_90e.py'
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    direction = {'head.fc.mean_feature': torch.ones(512), 'head.fc.mean_cosine': torch.tensor(0.5)}
    torch.save(dict(state_dict={**model.state_dict(), **direction}), tmp_path / 'stock.pth')
    write_image(tmp_path / 'image.jpg')
    demo = ['demo.py', tmp_path / 'image.jpg', config, tmp_path / 'stock.pth', '--out',
            tmp_path / 'demo.png', '--overwrite']
    assert 'TDE, alpha 2.00' in run_tool(*demo, '--alpha', 'auto')
    # Its config has no alpha, and none is guessed.
    output = run_tool(*demo)
    assert f'tools/analysis/sweep_alpha.py {config} {tmp_path}/stock.pth --write-config OUT.py' in output
    assert 'TDE, alpha' not in output and output.count(' %') == 5 and (tmp_path / 'demo.png').stat().st_size > 5000
    chosen = tmp_path / 'chosen.py'
    write_alpha_config(config, 0.7, chosen)
    demo[2] = chosen
    assert 'TDE, alpha 0.70' in run_tool(*demo)
    assert "must be 'auto' or a number in [0, inf), but got -1" in run_tool(*demo, '--alpha', '-1', status=2)


def test_the_demo_takes_a_vision_transformer(tmp_path):
    config = tmp_path / 'vit.py'
    config.write_text(f"""_base_ = '{ROOT}/configs/imagenet_lt/deconfound-tde_vit-b16_30e.py'
arch = dict(_delete_=True, embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
model = dict(backbone=dict(arch=arch), head=dict(in_channels=32))
""")
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    write_image(tmp_path / 'image.jpg')
    demo = ['demo.py', tmp_path / 'image.jpg', config, tmp_path / 'vit.pth', '--out',
            tmp_path / 'demo.png']
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'vit.pth')
    refusal = run_tool(*demo, status=1)
    assert 'needs the head direction' in refusal and 'Traceback' not in refusal
    model.head.fc.mean_feature.fill_(1.)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'vit.pth')
    assert 'Plot: ' in run_tool(*demo) and (tmp_path / 'demo.png').stat().st_size > 10000


def test_the_demo_takes_grey_images(tmp_path):
    config = 'configs/digits_lt/deconfound-tde_small_ir100.py'
    cfg = Config.fromfile(ROOT / config)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    refusal = ['deployment/export_onnx.py', config, tmp_path / 'digits.pth', tmp_path / 'd.onnx',
               '--image-size', '8', '8', '--channels', '1']
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'digits.pth')
    output = run_tool(*refusal, status=1)
    assert 'needs the head direction' in output and 'Traceback' not in output
    model.head.fc.mean_feature.fill_(1.)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'digits.pth')
    write_image(tmp_path / 'image.png', size=8)
    output = run_tool('demo.py', tmp_path / 'image.png', config, tmp_path / 'digits.pth', '--out',
                      tmp_path / 'demo.png')
    assert 'Plot: ' in output and (tmp_path / 'demo.png').stat().st_size > 5000


def test_the_hosts_inferencer_takes_our_checkpoints(checkpoint, tmp_path):
    from mmpretrain import ImageClassificationInferencer
    write_image(tmp_path / 'image.jpg')
    inferencer = ImageClassificationInferencer(IMAGENET_LT, pretrained=str(checkpoint), device='cpu')
    result = inferencer(str(tmp_path / 'image.jpg'))[0]
    assert np.asarray(result['pred_scores']).sum() == pytest.approx(1, abs=1e-4)
    assert inferencer.model.head.fc.alpha == 3 and inferencer.model.head.fc.mean_feature.any()


def test_mmdetections_inferencer_takes_our_checkpoints(tmp_path):
    from mmdet.apis import DetInferencer
    cfg = Config.fromfile('configs/shapes_lvis/cascade_tde_r18.py')
    init_default_scope('mmdet')
    detector = MODELS.build(cfg.model)
    for head in detector.roi_head.bbox_head:
        head.fc_cls.mean_feature.fill_(1.)
    classes = [f'class {label}' for label in range(24)]
    meta = dict(dataset_meta=dict(classes=classes))
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), tmp_path / 'c.pth')
    write_image(tmp_path / 'image.jpg')
    inferencer = DetInferencer('configs/shapes_lvis/cascade_tde_r18.py', str(tmp_path / 'c.pth'), device='cpu',
                               show_progress=False)  # its display may not be the only one of this process
    result, = inferencer(str(tmp_path / 'image.jpg'), no_save_vis=True, no_save_pred=True)['predictions']
    assert inferencer.model.roi_head.bbox_head[0].fc_cls.alpha == 1.5
    assert len(result['labels']) == len(result['scores']) == len(result['bboxes'])
    assert inferencer.model.dataset_meta['classes'] == classes


@pytest.mark.parametrize('loader', ['mmcausal.LoadImage', 'mmcv.transforms.LoadImageFromFile', 'the class'])
def test_the_demo_takes_any_loader_of_images(checkpoint, tmp_path, loader):
    """The hosts' inferencer knows one by its short name alone; a config of pure Python has the class, or its path."""
    write_image(tmp_path / 'image.jpg')
    cfg = Config.fromfile(ROOT / IMAGENET_LT)
    cfg.test_dataloader.dataset.pipeline[0].type = loader
    cfg.dump(tmp_path / 'config.py')
    if loader == 'the class':
        text = (tmp_path / 'config.py').read_text().replace("'the class'", 'LoadImageFromFile')
        (tmp_path / 'config.py').write_text('from mmcv.transforms import LoadImageFromFile\n' + text)
    tables = []
    for number, config in enumerate((ROOT / IMAGENET_LT, tmp_path / 'config.py')):
        status, output = call('demo.py', tmp_path / 'image.jpg', config, checkpoint, '--alpha', 2,
                              '--out', tmp_path / f'{number}.png')
        assert status == 0
        tables.append([line for line in output.splitlines() if '%  ' in line])
    assert len(tables[0]) == 5 and tables[0] == tables[1]
