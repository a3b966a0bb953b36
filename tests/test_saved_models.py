"""Checkpoints and configs saved at an earlier commit load and predict as before."""
import pytest
import torch
from helpers.commands import ROOT
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope

from mmcausal import models
from mmcausal.registry import MODELS

SAVED = torch.load(ROOT / 'tests' / 'saved' / 'models_at_04c9e07.pt', map_location='cpu')


@pytest.mark.parametrize('name', sorted(SAVED['layers']))
def test_layers(name):
    saved = SAVED['layers'][name]
    without = dict(bias=False) if saved['type'] == 'LWSLinear' else {}  # it had none at that commit
    layer = getattr(models, saved['type'])(8, 5, **saved['kwargs'], **without)
    layer.load_state_dict(saved['state'])  # strict: the same keys
    torch.testing.assert_close(layer(saved['x']), saved['training'])
    torch.testing.assert_close(layer.eval()(saved['x']), saved['evaluation'])


def test_classifier_from_its_dumped_config():
    cfg = Config.fromfile(ROOT / 'tests' / 'saved' / 'digits_at_04c9e07.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).eval()
    model.load_state_dict(SAVED['state_dict'])
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    with torch.no_grad():
        samples = model.test_step(pseudo_collate([dataset[row] for row in SAVED['rows']]))
    torch.testing.assert_close(torch.stack([sample.pred_score for sample in samples]), SAVED['scores'], atol=1e-5,
                               rtol=1e-4)
