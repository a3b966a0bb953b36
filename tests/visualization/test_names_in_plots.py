"""Class and group names as people write them, through every plot, the hook and the table of a metric."""
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from helpers.commands import CONFIGS
from helpers.names import NAMES
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmcausal.evaluation import ShotAccuracy
from mmcausal.models import DeconfoundLinear
from mmcausal.text import display_width, shorten
from mmcausal.visualization import classifier_pictures, draw_alpha_sweep, draw_class_accuracy, paper_figure, to_image

pytestmark = pytest.mark.filterwarnings('ignore:Glyph', 'ignore:constrained_layout not applied')
TEN = ('$$', '_hidden', '</script>', '{}%s', '\\frac{', 'two\nlines', '猫と犬', '😀 🫠', '', 'a very long name, ' * 12)


@pytest.fixture(scope='module')
def trained():
    torch.manual_seed(0)
    layer = DeconfoundLinear(8, len(NAMES), alpha=1.)
    features = torch.randn(90, 8) + 1
    layer(features)
    layer.update_direction(0.)
    return SimpleNamespace(layer=layer, features=features.numpy(), labels=np.arange(90) % len(NAMES))


def test_every_plot_of_a_classifier(trained):
    counts = np.arange(len(NAMES), 0, -1)
    groups = {name: counts % 3 == index for index, name in enumerate(NAMES[:3])}
    figures = classifier_pictures(trained.layer, trained.features, trained.labels, counts, groups, names=NAMES)
    assert len(figures) == 7
    for figure in figures.values():
        assert to_image(figure).std() > 1
    ticks = [tick.get_text() for tick in figures['weight_norms'].axes[0].get_xticklabels()]
    assert ticks[:2] == list(NAMES[:2]) and len(ticks) == len(NAMES)
    legend = [text.get_text() for text in figures['weight_norms'].axes[0].get_legend().get_texts()]
    assert legend == list(NAMES[:3])


def test_classifiers_groups_and_values_of_alpha():
    figure, (left, right) = paper_figure(columns=2, panel=(6, 6))
    draw_class_accuracy(left, np.arange(40), {name: np.arange(40) for name in NAMES}, np.arange(40))
    points = [{'alpha': alpha, 'entropy': 1., 'overall': 50., **dict.fromkeys(NAMES, 1.)} for alpha in (0., 1.)]
    draw_alpha_sweep(right, points, {name: 0.5 for name in NAMES})
    to_image(figure)
    texts = [{text.get_text() for text in axes.get_legend().get_texts()} for axes in (left, right)]
    assert {shorten(name, 40) for name in NAMES} <= texts[0] & texts[1]
    assert {shorten(f'{name}: 0.50', 40) for name in NAMES} <= texts[1]
    assert len(right.lines) == 1 + 2 * len(NAMES)  # no curve of the entropy


def test_validation_of_a_training(tmp_path):
    """Files of all plots, and a table in the log, in a folder with such a name."""
    cfg = Config.fromfile(CONFIGS / 'digits_lt' / 'deconfound-tde_small_ir100.py')
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.metainfo = dict(classes=TEN)
    cfg.merge_from_dict({'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1})
    cfg.custom_hooks.append(dict(type='mmcausal.PicturesHook', many=30, few=5))
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    work_dir = tmp_path / 'my $5 & <猫> 100 % {work}_dir'
    cfg.work_dir, cfg.experiment_name = str(work_dir), tmp_path.name
    Runner.from_cfg(cfg).train()
    plots = list(work_dir.glob('*/vis_data/vis_image/*.png'))
    assert len(plots) == 8 and all(cv2.imread(str(plot)).std() > 1 for plot in plots)
    log = next(work_dir.glob('*/*.log')).read_text(encoding='utf-8')
    assert all(f'\n{shorten(name, 40)}' in log for name in TEN)


def test_columns_of_the_table_are_straight():
    metric = ShotAccuracy(classwise=True, class_counts=[9] * len(NAMES))
    metric.dataset_meta = dict(classes=NAMES)
    metric.process(None, [dict(gt_label=torch.tensor([0]), pred_label=torch.tensor([0]))])
    with mock.patch.object(MMLogger, 'log') as log:
        metric.evaluate(1)
    _, *lines = log.call_args.args[1].split('\n')
    assert len(lines) == 1 + len(NAMES) and len(set(map(display_width, lines))) == 1
    shots = {display_width(line[:line.index('few ')]) for line in lines[1:]}
    assert shots == {lines[0].index('shot')}
