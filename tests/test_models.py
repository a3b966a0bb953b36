import copy
import math
import sys

import oracle
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import init_default_scope
from test_tools import ROOT, run
from torch import nn

from mmcausal import functional
from mmcausal.models import DeconfoundLinear, DetectionDeconfoundLinear, ResNet32, TDEClassifierTTA, enable_tde
from mmcausal.models.layers.tde_linear import BATCHES_WITHOUT_UPDATE as UNMOVED_BATCHES
from mmcausal.registry import MODELS

HEAD = dict(type='mmcausal.DeconfoundHead', num_classes=6, in_channels=8)


def trained_layer(**kwargs):
    layer = DeconfoundLinear(8, 6, **kwargs)
    for seed in range(3):
        torch.manual_seed(seed)
        layer(torch.randn(7, 8) + 1)
        layer.update_direction(0.9)
    return layer


@pytest.mark.parametrize('num_heads', (1, 2, 4))
@pytest.mark.parametrize('kind', sorted(functional.NORMALIZERS))
def test_layer_equals_the_oracle_in_training_and_evaluation(num_heads, kind):
    layer = trained_layer(num_heads=num_heads, normalizer=kind, alpha=1.5)
    x = torch.randn(5, 8)
    args = [x.tolist(), layer.weight.tolist(), layer.mean_feature.tolist()]
    for alpha, logits in ((0., layer(x)), (1.5, layer.eval()(x))):
        expected = oracle.tde_logits(*args, alpha, num_heads, 16., 1 / 32, kind)
        torch.testing.assert_close(logits, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_moving_average_equals_the_loop():
    batches = [torch.randn(n, 8) + 1 for n in (4, 2, 7)]
    layer, mean = DeconfoundLinear(8, 6), torch.zeros(8)
    for batch in batches:
        layer(batch)
        layer.update_direction(0.9)
        mean = 0.9 * mean + 0.1 * batch.mean(0)
    torch.testing.assert_close(layer.mean_feature, mean)
    assert layer.num_updates == 3
    assert 0 < layer.mean_cosine < 1


def test_first_mean_cosine_stands_for_itself():
    layer, x = DeconfoundLinear(8, 6), torch.randn(9, 8) + 1
    layer(x)
    layer.update_direction(0.9998)
    torch.testing.assert_close(layer.mean_cosine, functional.mean_cosine(x, x.mean(0)))


@pytest.mark.parametrize('batch', [torch.zeros(0, 8), torch.full((3, 8), math.nan), torch.full((3, 8), math.inf)])
def test_unusable_batches_move_nothing(batch):
    layer = trained_layer()
    before = copy.deepcopy(layer.state_dict())
    layer.observe(batch)
    layer.update_direction(0.9)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not layer.observed.any()


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_batch_that_is_not_finite_is_left_out_of_a_mean_over_batches(bad):
    batches = [torch.randn(n, 8) + 1 for n in (4, 2, 7)]
    spoilt = torch.randn(5, 8)
    spoilt[3, 2] = bad
    layer = DeconfoundLinear(8, 6)
    for batch in (*batches[:2], spoilt, batches[2]):
        layer.observe(batch)
    layer.update_direction(0.)
    expected = torch.cat(batches)
    torch.testing.assert_close(layer.mean_feature, expected.mean(0))
    torch.testing.assert_close(layer.mean_cosine, functional.mean_cosine(expected, expected.mean(0)))
    assert layer.num_updates == 1


def test_half_precision_counts_every_sample():
    layer = DeconfoundLinear(8, 6)
    layer.observe(torch.ones(4097, 8, dtype=torch.float16))
    layer.update_direction(0.)
    assert torch.equal(layer.mean_feature, torch.ones(8))


def test_foreground_that_is_not_finite_is_left_out_and_background_may_be_anything():
    layer, batches = DetectionDeconfoundLinear(8, 6), [torch.randn(4, 8) + 1 for _ in range(3)]
    is_foreground = torch.tensor([True, False, True, True])
    batches[0][1] = math.nan  # background
    batches[1][2] = math.nan
    for batch in batches:
        layer.observe(batch, is_foreground)
    layer.update_direction(0.)
    seen = torch.cat([batch[is_foreground] for batch in (batches[0], batches[2])])
    torch.testing.assert_close(layer.mean_feature, seen.mean(0))


def test_evaluation_observes_nothing():
    layer = trained_layer().eval()
    layer(torch.randn(3, 8))
    assert not layer.observed.any()


def test_tde_without_direction_is_an_error_that_helps():
    layer = DeconfoundLinear(8, 6, alpha=1.5)
    layer(torch.randn(3, 8))
    with pytest.raises(RuntimeError, match='HeadDirectionHook.*estimate_direction'):
        layer.eval()(torch.randn(3, 8))
    layer.alpha = 0.
    assert layer(torch.randn(0, 8)).shape == (0, 6)


def test_training_without_the_hook_warns_before_the_first_evaluation_fails(recwarn):
    plain, forgotten, moved = (DeconfoundLinear(8, 6, alpha=alpha) for alpha in (0., 1.5, 1.5))
    for layer in (plain, forgotten, moved):
        for step in range(2 * UNMOVED_BATCHES):
            layer(torch.zeros(1, 8))
            if layer is moved and step % 999 == 0:
                layer.update_direction(0.9)
    assert [str(w.message) for w in recwarn if 'HeadDirectionHook' in str(w.message)] == [
        'TDE (alpha=1.5) needs the head direction of the training features, but nothing updated it for 1000 batches; '
        'add custom_hooks=[dict(type="mmcausal.HeadDirectionHook")], or call update_direction(momentum) after each '
        'optimizer step in a loop of your own']


def test_auto_alpha_is_the_rule_and_survives_a_checkpoint():
    layer = trained_layer(alpha='auto').eval()
    assert layer.resolved_alpha() * float(layer.mean_cosine) == pytest.approx(1)
    other = DeconfoundLinear(8, 6, alpha='auto').eval()
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 8)
    assert torch.equal(layer(x), other(x))
    layer.mean_cosine.zero_()
    with pytest.raises(RuntimeError, match="alpha='auto' needs a positive mean cosine"):
        layer(x)


@pytest.mark.parametrize('change, words', [
    (dict(num_heads=3), 'do not split into 3'),
    (dict(tau=-1.), 'tau must be'),
    (dict(gamma=-1.), 'gamma must be'),
    (dict(normalizer='x'), 'normalizer must be'),
    (dict(alpha='best'), "alpha must be a non-negative number or 'auto', but got 'best'"),
    (dict(alpha=None), 'alpha must be'),
    (dict(alpha=-1.), 'alpha must be'),
])
def test_bad_arguments_stop_the_build(change, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(HEAD, **change))


def test_head_initialises_itself_and_builds_from_any_registry():
    init_default_scope('mmpretrain')
    head = ROOT_MODELS.build(dict(HEAD, init_cfg=dict(type='Normal', layer='Linear', std=100.)))
    head.init_weights()
    assert head.fc.weight.abs().max() <= 1 / math.sqrt(8)
    assert head.fc.bias is None


def test_resnet32_is_the_papers():
    net = ResNet32()
    assert net(torch.randn(2, 3, 32, 32))[0].shape == (2, 128, 8, 8)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    # 1 + 2 * 15, and the twin of the last block
    assert len(convolutions) == 33 and all(m.kernel_size == (3, 3) for m in convolutions)
    last = net.twins[0](torch.zeros(1, 64, 8, 8)), net.twins[1](torch.zeros(1, 64, 8, 8))
    assert last[0].shape == last[1].shape == (1, 64, 8, 8)


class Classifier(nn.Module):

    def __init__(self, fc):
        super().__init__()
        self.head = nn.Module()
        self.head.fc = fc

    def test_step(self, data):
        return self.head.fc(data['inputs'])


def test_wrapper_around_a_stock_linear_layer():
    linear, x = nn.Linear(8, 6), torch.randn(5, 8) + 1
    before = linear(x)
    model = Classifier(linear)
    layer = enable_tde(model, 0.5)
    torch.testing.assert_close(layer(x), before)
    layer.update_direction(0.)
    effect = functional.head_effect(x, linear.weight, x.mean(0), num_heads=1, normalizer='linear')
    wrapper = TDEClassifierTTA(model, alpha=0.5).eval()
    batch = dict(inputs=x, data_samples=[None] * 5)
    torch.testing.assert_close(wrapper.test_step(batch), before - 0.5 * effect)
    with pytest.raises(ValueError, match="'head' is a Module"):
        enable_tde(model, 0.5, classifier='head')
    with pytest.raises(ValueError, match='is not a layer'):
        enable_tde(model, 0.5, classifier='neck.fc')
    with pytest.raises(ValueError, match='alpha must be'):
        TDEClassifierTTA(model, alpha='x')


def arcface_model(**kwargs):
    init_default_scope('mmpretrain')
    model = nn.Module()
    model.head = MODELS.build(dict(type='ArcFaceClsHead', num_classes=6, in_channels=8, scale=20., **kwargs))
    return model.eval()


def test_tde_for_the_hosts_cosine_classifier():
    model, x, labels = arcface_model(), torch.randn(5, 8) + 1, torch.arange(5)
    head, weight = model.head, model.head.norm_product.weight
    before, with_margin = head((x, )), head((x, ), labels)
    layer = enable_tde(model, 0., 'head.norm_product')
    assert layer.weight is weight and 'head.norm_product.weight' in model.state_dict()
    torch.testing.assert_close(head((x, )), before)
    torch.testing.assert_close(head((x, ), labels), with_margin)

    layer.train()
    head((x, ), labels)  # as estimate_direction.py
    layer.eval().update_direction(0.)
    torch.testing.assert_close(layer.mean_feature, x.mean(0))
    assert enable_tde(model, 1.5, 'head.norm_product') is layer
    tau = 20.  # the head's scale
    expected = oracle.tde_logits(x.tolist(), weight.tolist(), x.mean(0).tolist(), 1.5, 1, tau, 0., 'cosine')
    torch.testing.assert_close(head((x, )), torch.tensor(expected), atol=1e-4, rtol=1e-5)
    labels_by_tde = [sample.pred_label for sample in head.predict((x, ))]
    assert torch.cat(labels_by_tde).tolist() == torch.tensor(expected).argmax(1).tolist()


def test_other_products_than_the_cosine_are_refused():
    with pytest.raises(ValueError, match="'head.norm_product' has k=3, feature_norm=True"):
        enable_tde(arcface_model(num_subcenters=3), 0.5, 'head.norm_product')
    model = arcface_model()
    model.head.norm_product.feature_norm = False
    with pytest.raises(ValueError, match='feature_norm=True and weight_norm=True, but .* feature_norm=False'):
        enable_tde(model, 0.5, 'head.norm_product')


def test_a_direction_for_the_hosts_cosine_classifier(tmp_path):
    """The tool, on a checkpoint of MMPretrain's own head; then TDE by the wrapper."""
    config = tmp_path / 'arcface.py'
    config.write_text(f"""_base_ = '{ROOT}/configs/digits_lt/linear_small_ir100.py'
model = dict(head=dict(_delete_=True, type='ArcFaceClsHead', num_classes=10, in_channels=256, scale=20.))
""")
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    stock = MODELS.build(cfg.model).eval()
    torch.save(dict(state_dict=stock.state_dict()), tmp_path / 'stock.pth')
    tool = [sys.executable, 'tools/analysis/estimate_direction.py', config, tmp_path / 'stock.pth', tmp_path / 'd.pth']
    refusal = run(*tool, status=1)
    assert "is not a layer of ImageClassifier" in refusal and 'Traceback' not in refusal
    assert 'head.norm_product: mean cosine' in run(*tool, '--classifier', 'head.norm_product')

    images = torch.randn(4, 1, 8, 8)
    features = stock.extract_feat(images)[-1]
    wrapper = TDEClassifierTTA(MODELS.build(cfg.model), alpha=0.5, classifier='head.norm_product').eval()
    state = torch.load(tmp_path / 'd.pth', map_location='cpu', weights_only=False)['state_dict']
    wrapper.module.load_state_dict(state)
    assert state['head.norm_product.mean_feature'].any()
    arguments = [value.tolist() for value in (features, stock.head.norm_product.weight,
                                              state['head.norm_product.mean_feature'])]
    expected = oracle.tde_logits(*arguments, 0.5, 1, 20., 0., 'cosine')
    torch.testing.assert_close(wrapper.module(images), torch.tensor(expected), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize('loss', [dict(type='CrossEntropyLoss', use_sigmoid=True), dict(type='FocalLoss')])
def test_losses_on_sigmoids_are_refused(loss):
    init_default_scope('mmpretrain')
    with pytest.raises(ValueError, match=f"needs a loss on the softmax .* {loss['type']} takes sigmoids"):
        MODELS.build(dict(HEAD, loss=loss))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_averages_of_a_half_precision_layer_are_float32(dtype):
    built, converted = DeconfoundLinear(8, 6, dtype=dtype), DeconfoundLinear(8, 6).to(dtype)
    for layer in (built, converted):
        assert layer.weight.dtype == dtype and layer.num_updates.dtype == torch.long
        features = torch.full((300, 8), 300., dtype=dtype)  # their sum overflows float16
        layer(features)
        layer.update_direction(0.)
        assert layer.mean_feature.dtype == torch.float32 and layer.num_updates == 1
        torch.testing.assert_close(layer.mean_feature, torch.full((8, ), 300.))
        assert layer.double().mean_feature.dtype == torch.float64
        assert layer.eval()(features.double()).isfinite().all()
