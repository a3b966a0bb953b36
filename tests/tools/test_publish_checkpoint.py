"""Published checkpoints: weights in half precision, named by their SHA-256, that give the results of their metafile."""
import copy
import hashlib
import json
import subprocess
import sys

import pytest
import torch
import yaml
from helpers.commands import ROOT
from helpers.data import CIFAR10_MD5, CIFAR100_MD5
from helpers.in_process import run_tool

MODELS = [model for path in sorted(ROOT.glob('configs/*/metafile.yml'))
          for model in yaml.safe_load(path.read_text())['Models'] if 'Weights' in model]
SPLITS = ('train', 'val', 'test')


def publish(*arguments):
    command = [sys.executable, ROOT / 'tools' / 'publish_checkpoint.py', *arguments]
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_weights_in_half_precision(stage_one, tmp_path):
    done = publish(stage_one.checkpoint, 'digits', '--out-dir', tmp_path)
    assert done.returncode == 0, done.stdout
    [file] = tmp_path.glob('digits-*.pth')
    assert file.stem == f'digits-{sha256(file)[:8]}' and sha256(file) in done.stdout
    saved = torch.load(file, map_location='cpu')
    meta = torch.load(stage_one.checkpoint, map_location='cpu', weights_only=False)['meta']
    assert set(saved) == {'state_dict', 'meta'} and saved['meta'] == dict(dataset_meta=meta['dataset_meta'])
    own, loaded = stage_one.model.state_dict(), copy.deepcopy(stage_one.model)  # other tests share the model
    loaded.load_state_dict(saved['state_dict'])
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, own[key], rtol=1e-3, atol=1e-6)
        assert not value.is_floating_point() or saved['state_dict'][key].dtype == torch.half


def test_values_beyond_half_precision_are_refused(tmp_path):
    torch.save(dict(state_dict={'head.weight': torch.tensor([1., 1e6])}), tmp_path / 'large.pth')
    done = publish(tmp_path / 'large.pth', 'large', '--out-dir', tmp_path / 'out')
    assert done.returncode != 0 and 'head.weight has values beyond half precision, up to 1e+06' in done.stdout
    assert not (tmp_path / 'out').exists()
    assert 'no such checkpoint' in publish(tmp_path / 'missing.pth', 'missing').stdout


def test_every_published_file_belongs_to_models_of_the_metafiles():
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob('docs/results/checkpoints/*')}
    assert {model['Weights'] for model in MODELS} == files
    assert sorted(model['Name'] for model in MODELS) == sorted(
        f'{method}_r32_ir100_{data}_lt' for method in ('linear', 'deconfound', 'deconfound-tde')
        for data in ('cifar10', 'cifar100'))


@pytest.mark.parametrize('model', MODELS, ids=[model['Name'] for model in MODELS])
def test_published_file_is_the_one_of_the_metafile(model):
    file = ROOT / model['Weights']
    assert sha256(file) == model['Metadata']['SHA-256'] and file.stem.endswith(model['Metadata']['SHA-256'][:8])
    assert file.stat().st_size < 1.3e6


@pytest.mark.parametrize('model', MODELS, ids=[model['Name'] for model in MODELS])
def test_published_weights_give_the_results_of_the_metafile(model, request, tmp_path):
    """From pixels to TDE, to the last of 10,000 images."""
    name, md5 = ('cifar10', CIFAR10_MD5) if 'cifar10_lt' in model['Config'] else ('cifar100', CIFAR100_MD5)
    root = request.getfixturevalue(f'{name}_root')
    options = [f'{split}_dataloader.{key}' for split in SPLITS
               for key in ('num_workers=0', 'persistent_workers=False', f'dataset.data_root={root}',
                           *(f'dataset.md5.{file}={value}' for file, value in md5.items()))]
    out = tmp_path / 'metrics.json'
    run_tool('test.py', model['Config'], model['Weights'], '--work-dir', tmp_path, '--out', out, '--out-item',
             'metrics', '--cfg-options', *options)
    metrics = json.loads(out.read_text())
    expected = model['Results'][0]['Metrics']['Top 1 Accuracy']
    assert metrics['shot/overall'] == pytest.approx(expected, abs=0.005)  # half an image
