"""Wrong calls of the tools for detectors end with a sentence that names the value and the demand."""
import json
import shutil

import pytest
import torch
from helpers.in_process import call, check_refusal, refusals
from helpers.runners import shapes_cfg
from helpers.wrong_files import write_checkpoints, write_wrong_proposals
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal.registry import MODELS

SWEEPS = '''
detector.py nowhere.pth | no such file: nowhere.pth
detector.py truncated.pth | truncated.pth must be a checkpoint, but is truncated
detector.py good.pth | the checkpoint good.pth is not one of this CascadeRCNN: roi_head.bbox_head.0.fc_cls.weight
detector.py headless.pth | the checkpoint headless.pth is not one of this CascadeRCNN: backbone.conv1.weight has shape
detector.py undirected_detector.pth | needs the head direction
detector.py detector.pth --select nope | --select must be one of AP, APr, APc, APf, but got nope
detector.py detector.pth --backend foo | invalid choice: 'foo' (choose from
detector.py detector.pth --cfg-options val_dataloader.dataset.ann_file=cut.json | cut.json is not JSON
detector.py detector.pth --cfg-options val_dataloader.dataset.ann_file=list.json | list.json holds a list
detector.py detector.pth --cfg-options val_dataloader.dataset.ann_file=empty.json | empty.json must have images
detector.py detector.pth --cfg-options val_dataloader.dataset.ann_file=none.json | must have the 24 classes
detector.py detector.pth --cfg-options val_dataloader.dataset.ann_file=names.json | but 1 differ; the first
detector.py detector.pth --cfg-options val_evaluator.ann_file=cut.json | cut.json is not JSON
detector.py detector.pth --features store_cut | 00000001.npz is damaged: BadZipFile
detector.py detector.pth --features store_text | 00000001.npz is damaged: ValueError
detector.py detector.pth --features store_objects | 00000001.npz is damaged: ValueError
detector.py detector.pth --features store_shapes | 00000001.npz is damaged: ValueError('features of
detector.py detector.pth --features store_gap | store_gap is damaged: it lacks 00000000.npz. Remove it
detector.py detector.pth --features store_old | store_old must hold proposals as .npz files, but has .pt files
'''
OTHERS = '''
test.py detector.py headless.pth | the checkpoint headless.pth is not one of this CascadeRCNN: backbone.conv1.weight has
test.py detector.py detector.pth --cfg-options test_dataloader.dataset.ann_file=cut.json | cut.json is not JSON
analysis/estimate_direction.py detector.py headless.pth out.pth | the checkpoint headless.pth is not one of this
analysis/pictures.py detector.py detector.pth | detector.py must be the config of a classifier, but has a CascadeRCNN
dataset_converters/check_images.py detector.py | must be an ImageList or ImageFolder, but is a mmcausal.ShapesDataset
'''


def write_detector(root):
    init_default_scope('mmdet')
    detector = MODELS.build(Config.fromfile(root / 'detector.py').model)
    for head in detector.roi_head.bbox_head:
        head.fc_cls.mean_feature.fill_(1.)
        head.fc_cls.mean_cosine.fill_(0.5)
        head.fc_cls.num_updates.fill_(1)
    state = detector.state_dict()
    torch.save(dict(state_dict=state), root / 'detector.pth')
    torch.save({name: value for name, value in state.items() if 'backbone' not in name}, root / 'headless.pth')
    torch.save({name: value for name, value in state.items() if 'mean_feature' not in name},
               root / 'undirected_detector.pth')


def write_annotations(root, shapes):
    good = json.loads((shapes / 'annotations' / 'shapes_val.json').read_text())
    renamed = [dict(good['categories'][0], name='zebra'), *good['categories'][1:]]
    for name, content in dict(cut=json.dumps(good)[:500], list=json.dumps([good]),
                              empty=json.dumps(dict(good, images=[], annotations=[])),
                              none=json.dumps(dict(images=[], categories=[], annotations=[])),
                              names=json.dumps(dict(good, categories=renamed))).items():
        for place in (root, shapes):  # where the evaluator and the dataset look
            (place / f'{name}.json').write_text(content)


@pytest.fixture(scope='module')
def folder(tmp_path_factory, shapes):
    root = tmp_path_factory.mktemp('wrong')
    shapes = shutil.copytree(shapes, root / 'shapes')
    cfg = shapes_cfg('cascade_tde_r18', shapes, root / 'work')
    cfg.test_dataloader.dataset.ann_file = 'annotations/shapes_train.json'  # so that the validation images are others
    cfg.dump(root / 'detector.py')
    write_checkpoints(root)
    write_detector(root)
    write_annotations(root, shapes)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        status, output = call('analysis/sweep_detector_alpha.py', 'detector.py', 'detector.pth', '--num-images', 2,
                              '--alphas', 0, '--features', 'store')
    assert status == 0, output
    write_wrong_proposals(root)
    return root


@pytest.mark.parametrize('command, words', refusals(SWEEPS))
def test_a_wrong_sweep_ends_with_a_sentence(folder, monkeypatch, command, words):
    monkeypatch.chdir(folder)
    check_refusal(f'analysis/sweep_detector_alpha.py --num-images 2 {command}', words)
    assert not (folder / 'ran').exists()


@pytest.mark.parametrize('command, words', refusals(OTHERS))
def test_other_wrong_calls_end_with_a_sentence(folder, monkeypatch, command, words):
    monkeypatch.chdir(folder)
    check_refusal(command, words)
