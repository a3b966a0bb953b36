"""The recipes of docs/extending.md, as a user follows them from a folder outside the package."""
import re

import pytest
import torch
from helpers.commands import ROOT, run
from mmengine.registry import init_default_scope

RECIPES = dict(re.findall(r'## (A loss|A normaliser|A head of your own|A dataset)\n.*?```python\n(.*?)```',
                          (ROOT / 'docs' / 'extending.md').read_text(), re.DOTALL))


@pytest.fixture(scope='module', autouse=True)
def my_methods():
    """Run all recipes once, as ``custom_imports`` would."""
    init_default_scope('mmpretrain')
    namespace = {}
    for recipe in RECIPES.values():
        exec(recipe, namespace)
    yield namespace
    from mmcausal.functional import NORMALIZERS
    NORMALIZERS.pop('root')


def test_recipes_are_short():
    assert len(RECIPES) == 4
    assert all(len(recipe.strip().splitlines()) <= 15 for recipe in RECIPES.values())


def test_loss():
    from mmcausal.registry import MODELS
    loss = MODELS.build(dict(type='mmcausal.PolyLoss', loss_weight=2.))
    logits, labels, weight = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0]), torch.tensor([1., 0, 2, 1, 1])
    probs = logits.softmax(-1)[range(5), labels]
    expected = 2 * (weight * (-probs.log() + 1 - probs)).sum() / 4
    torch.testing.assert_close(loss(logits, labels, weight=weight, avg_factor=4), expected)
    head = MODELS.build(dict(type='mmcausal.DeconfoundHead', num_classes=3, in_channels=8,
                             loss=dict(type='mmcausal.PolyLoss')))
    assert head.loss_module.loss_weight == 1.


def test_normaliser():
    from mmcausal.models import DeconfoundLinear
    layer, x = DeconfoundLinear(8, 5, normalizer='root', tau=4., alpha=1.), torch.randn(6, 8) + 1
    layer(x)
    layer.update_direction(0.)
    assert 'gamma' not in repr(layer) and "normalizer='root'" in repr(layer)
    weight, expected = layer.weight.detach(), torch.zeros(6, 5)
    for k in (slice(0, 4), slice(4, 8)):
        direction = x.mean(0)[k] / x.mean(0)[k].norm()
        for n in range(6):
            rest = x[n, k] - (x[n, k] @ direction) * direction
            for c in range(5):
                expected[n, c] += 2 * (weight[c, k] @ rest) / (x[n, k].norm() * weight[c, k].norm()).sqrt()
    torch.testing.assert_close(layer.eval()(x), expected, atol=1e-5, rtol=1e-4)


def test_head_of_a_host_trains_with_the_hook(tmp_path, my_methods):
    folder = tmp_path / 'elsewhere'
    folder.mkdir()
    (folder / 'my_methods.py').write_text(RECIPES['A head of your own'] + '\n' + RECIPES['A loss'])
    (folder / 'config.py').write_text(f"""_base_ = '{ROOT}/configs/digits_lt/linear_small_ir100.py'
custom_imports = dict(imports=['my_methods'])
model = dict(head=dict(type='BottleneckHead', channels=64, alpha=1., loss=dict(type='mmcausal.PolyLoss')))
custom_hooks = [dict(type='mmcausal.HeadDirectionHook')]
train_cfg = dict(max_epochs=1, val_interval=1)
""")
    output = run('python', 'tools/train.py', folder / 'config.py', '--work-dir', tmp_path / 'work',
                 PYTHONPATH=str(folder))
    assert 'accuracy/top1' in output and 'Mean cosine of features and head direction' in output
    state = torch.load(tmp_path / 'work' / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert state['head.fc.mean_feature'].shape == (64, ) and state['head.fc.num_updates'] == 8


def test_dataset():
    from mmpretrain.registry import DATASETS
    train, test = (DATASETS.build(dict(type='LongTailedWine', ann_file='', test_mode=mode)) for mode in (False, True))
    counts = [40, 12, 4]
    assert train.metainfo['class_counts'] == counts
    labels = [train.get_data_info(index)['gt_label'] for index in range(len(train))]
    assert [labels.count(label) for label in range(3)] == counts and len(test) == 178
