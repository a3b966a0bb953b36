"""Second stages, classifiers that need no training, and BBN, in a real Runner on real digits."""
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from mmcausal import functional
from mmcausal.hooks import ClassMeansHook, ClassPriorHook, CumulativeLearningHook, RestartClassifierHook
from mmcausal.models import LogitAdjustedLinear, LWSLinear, NCMLinear, TauNormLinear
from mmcausal.registry import MODELS

CONFIG = Path(__file__).parent.parent / 'configs' / 'digits_lt' / 'linear_small_ir100.py'
PRIOR = dict(type='mmcausal.ClassPriorHook')


def make_config(work_dir, epochs=2, **changes):
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(dict({'train_cfg.max_epochs': epochs, 'train_cfg.val_interval': 100}, **changes))
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir)
    cfg.randomness = dict(seed=0)
    return cfg


def head_of(layer, **kwargs):
    return dict(type='mmcausal.ClassifierHead', classifier=dict(type=f'mmcausal.{layer}', **kwargs))


@pytest.fixture(scope='module')
def stage_one(tmp_path_factory):
    """A linear classifier of digits: its checkpoint and its weights."""
    work_dir = tmp_path_factory.mktemp('stage_one')
    runner = Runner.from_cfg(make_config(work_dir, epochs=5))
    runner.train()
    return SimpleNamespace(checkpoint=str(work_dir / 'epoch_5.pth'), model=runner.model)


def train_stage_two(work_dir, checkpoint, head, epochs=2, **changes):
    cfg = make_config(work_dir, epochs, **{'model.type': 'mmcausal.StageTwoClassifier', 'model.head': head,
                                           'load_from': checkpoint, **changes})
    cfg.train_dataloader.sampler = dict(type='mmcausal.ClassPowerSampler')
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def unchanged(runner, stage_one):
    before = stage_one.model.backbone.state_dict()
    return all(torch.equal(value, before[key]) for key, value in runner.model.backbone.state_dict().items())


def test_retrained_classifier_on_the_features_of_stage_one(stage_one, tmp_path):
    runner = train_stage_two(tmp_path, stage_one.checkpoint, {},
                             custom_hooks=[dict(type='mmcausal.RestartClassifierHook')])
    assert unchanged(runner, stage_one)  # weights and batch statistics
    assert not torch.allclose(runner.model.head.fc.weight, stage_one.model.head.fc.weight, atol=0.05)

    # as tools/train.py --resume
    cfg = make_config(tmp_path, 3, **{'model.type': 'mmcausal.StageTwoClassifier', 'load_from': None,
                                      'resume': True, 'custom_hooks': [dict(type='mmcausal.RestartClassifierHook')]})
    resumed = Runner.from_cfg(cfg)
    resumed._train_loop = resumed.build_train_loop(resumed._train_loop)
    resumed.load_or_resume()
    RestartClassifierHook().before_train(resumed)  # a resumed training keeps what it has learnt
    assert torch.equal(resumed.model.head.fc.weight, runner.model.head.fc.weight)


def test_restart_forgets_the_classifier_of_stage_one(stage_one):
    torch.manual_seed(1)
    model = SimpleNamespace(head=SimpleNamespace(fc=torch.nn.Linear(4, 3)))
    before = model.head.fc.weight.detach().clone()
    RestartClassifierHook().before_train(SimpleNamespace(model=model, iter=0))
    assert not torch.equal(model.head.fc.weight, before)
    with pytest.raises(ValueError, match='needs a model with a layer head.fc'):
        RestartClassifierHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1), iter=0))


def test_learnable_weight_scaling_trains_one_factor_a_class(stage_one, tmp_path):
    runner = train_stage_two(tmp_path, stage_one.checkpoint, head_of('LWSLinear'))
    layer = runner.model.head.fc
    assert unchanged(runner, stage_one) and torch.equal(layer.weight, stage_one.model.head.fc.weight)
    assert (layer.scale != 1).all()
    x = torch.randn(5, 256)
    expected = [[layer.scale[c] * (layer.weight[c] * row).sum() for c in range(10)] for row in x]
    torch.testing.assert_close(layer(x), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_nearest_class_mean(stage_one, tmp_path):
    cfg = make_config(tmp_path, **{'model.type': 'mmcausal.StageTwoClassifier', 'model.head': head_of('NCMLinear'),
                                   'load_from': stage_one.checkpoint})
    cfg.train_cfg = dict(type='mmcausal.ClassMeansLoop')
    runner = Runner.from_cfg(cfg)
    runner.train()
    layer = runner.model.head.fc

    stage_one.model.eval()
    sums, counts = torch.zeros(10, 256), torch.zeros(10)
    for batch in runner.train_dataloader:  # another order
        data = stage_one.model.data_preprocessor(batch, False)
        for feature, sample in zip(stage_one.model.extract_feat(data['inputs'], stage='pre_logits'),
                                   data['data_samples']):
            sums[sample.gt_label] += feature.detach()
            counts[sample.gt_label] += 1
    assert counts.tolist() == runner.train_dataloader.dataset.metainfo['class_counts']
    torch.testing.assert_close(layer.weight, sums / counts[:, None])
    x = torch.randn(4, 256)
    nearest = [max(range(10), key=lambda c: float(F.cosine_similarity(row, sums[c], dim=0))) for row in x]
    assert layer.eval()(x).argmax(1).tolist() == nearest

    loaded = MODELS.build(cfg.model)
    loaded.load_state_dict(torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict'])
    torch.testing.assert_close(loaded.eval().head.fc(x), layer(x))
    with pytest.raises(ValueError, match='ClassMeansLoop needs an NCMLinear'):
        cfg.model.head.update(head_of('LWSLinear'))
        cfg.experiment_name += '_lws'
        Runner.from_cfg(cfg).train()


def test_means_need_a_sample_of_each_class():
    layer = NCMLinear(4, 3)
    layer.add_samples(torch.randn(2, 4), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match='class 1 with count 0'):
        layer.set_means()
    with pytest.raises(RuntimeError, match='has no class means'):
        layer.eval()(torch.randn(1, 4))


@pytest.mark.parametrize('exponent', [0., 0.4, 1.])
def test_tau_norm(exponent):
    layer, x = TauNormLinear(6, 4, exponent=exponent), torch.randn(5, 6)
    linear = x @ layer.weight.t()
    torch.testing.assert_close(layer.train()(x), linear)
    expected = [[(w * row).sum() / w.pow(2).sum().sqrt()**exponent for w in layer.weight] for row in x]
    torch.testing.assert_close(layer.eval()(x), torch.tensor(expected))
    if exponent == 0:
        torch.testing.assert_close(layer(x), linear)
    if exponent == 1:
        torch.testing.assert_close(layer(x), F.linear(x, F.normalize(layer.weight)))


@pytest.mark.parametrize('layer', [TauNormLinear(6, 4, exponent=0.7), LWSLinear(6, 4), NCMLinear(6, 4)])
def test_tde_of_decoupled_classifiers(layer):
    """They are linear classifiers of other weights, so Eq. 8 holds with these."""
    if isinstance(layer, NCMLinear):
        layer.has_means.fill_(True)
    if isinstance(layer, LWSLinear):
        torch.nn.init.uniform_(layer.scale)
    x, mean = torch.randn(5, 6), torch.rand(6)
    layer.eval().mean_feature.copy_(mean)
    layer.alpha = 1.5
    expected = functional.total_direct_effect(x, layer.effective_weight(), mean, 1.5, num_heads=1,
                                              normalizer=layer.normalizer)
    torch.testing.assert_close(layer(x), expected)
    assert not torch.allclose(layer(x), layer.total_effect(x))


@pytest.mark.parametrize('tau', [0., 1., 2.])
def test_post_hoc_logit_adjustment(tau):
    layer, x, counts = LogitAdjustedLinear(6, 3, tau=tau), torch.randn(5, 6), [90, 9, 1]
    if tau:
        with pytest.raises(RuntimeError, match='ClassPriorHook'):
            layer.eval()(x)
    loaders = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(class_counts=counts)))
    ClassPriorHook().before_test(SimpleNamespace(model=layer, test_dataloader=loaders))
    linear = F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer.train()(x), linear)
    torch.testing.assert_close(layer.eval()(x), linear - tau * (torch.tensor(counts) / 100).log())
    with pytest.raises(ValueError, match='for each of 3 classes'):
        layer.set_class_counts([1, 2])


def test_second_stage_needs_the_first(stage_one, tmp_path):
    with pytest.raises(RuntimeError, match="set load_from to stage one's checkpoint"):
        train_stage_two(tmp_path / 'none', None, {})
    checkpoint = torch.load(stage_one.checkpoint, weights_only=False)
    state = {key.replace('backbone.', 'backbone.body.'): value for key, value in checkpoint['state_dict'].items()}
    torch.save(dict(state_dict=state), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='the checkpoint is not one of this SmallConvNet: .* is not in the checkpoint'):
        train_stage_two(tmp_path / 'other', str(tmp_path / 'other.pth'), {})
    key = next(key for key in checkpoint['state_dict'] if key.endswith('weight'))
    checkpoint['state_dict'][key] = torch.zeros(1, 2)
    torch.save(checkpoint, tmp_path / 'wide.pth')
    with pytest.raises(ValueError, match=r'has shape .* here, but \(1, 2\) in the checkpoint'):
        train_stage_two(tmp_path / 'wide', str(tmp_path / 'wide.pth'), {})
    with pytest.raises(RuntimeError, match='LWSLinear scales the class weights of a trained classifier'):
        LWSLinear(4, 3).train()(torch.randn(2, 4))


@pytest.mark.parametrize('layer', [TauNormLinear, LogitAdjustedLinear])
def test_exponent_and_tau_are_checked(layer):
    argument = 'exponent' if layer is TauNormLinear else 'tau'
    with pytest.raises(ValueError, match=f'{argument} must be a number'):
        layer(4, 3, **{argument: -0.1})


def test_progressive_epochs_reach_the_sampler(stage_one, tmp_path):
    cfg = make_config(tmp_path, epochs=2)
    cfg.train_dataloader.sampler = dict(type='mmcausal.ProgressivelyBalancedSampler', max_epochs=2)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.train_dataloader.sampler.epoch == 1


def bbn(tmp_path=None):
    init_default_scope('mmpretrain')
    head = dict(type='LinearClsHead', num_classes=10, in_channels=128)
    return dict(type='mmcausal.BBNClassifier', backbone=dict(type='mmcausal.ResNet32', in_channels=1),
                neck=dict(type='GlobalAveragePooling'), head=head)


def test_bbn_loss_is_that_of_its_equations():
    model = MODELS.build(bbn()).train()
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 9, 1, 8, 2, 7])
    samples = [DataSample().set_gt_label(label) for label in labels]
    model.conventional_share = share = 0.7
    torch.manual_seed(0)
    value = model.loss(images, samples)['loss']
    features = [twin(model.backbone.shared(images[i::2])).mean((2, 3)) for i, twin in enumerate(model.backbone.twins)]
    logits = model.head.fc(2 * torch.cat([share * features[0], (1 - share) * features[1]], 1))
    expected = share * F.cross_entropy(logits, labels[0::2]) + (1 - share) * F.cross_entropy(logits, labels[1::2])
    torch.testing.assert_close(value, expected)
    with pytest.raises(ValueError, match='needs pairs of images, but got 5'):
        model.loss(images[:5], samples[:5])
    with pytest.raises(ValueError, match='needs a backbone with twin blocks'):
        MODELS.build(dict(bbn(), backbone=dict(type='mmcausal.SmallConvNet', in_channels=1)))


def test_bbn_at_inference_is_half_of_each_branch():
    model = MODELS.build(bbn()).eval()
    image = torch.randn(2, 1, 8, 8)
    halves = [0.5 * twin(model.backbone.shared(image)).mean((2, 3)) for twin in model.backbone.twins]
    torch.testing.assert_close(model(image, mode='tensor'), model.head.fc(2 * torch.cat(halves, 1)))


def test_bbn_trains_with_its_schedule(tmp_path):
    cfg = make_config(tmp_path, epochs=2, custom_hooks=[dict(type='mmcausal.CumulativeLearningHook')])
    cfg.model = bbn()
    cfg.train_dataloader.sampler = dict(type='mmcausal.TwoBranchSampler')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.conventional_share == 1 - 0.5**2  # in the second of two epochs
    assert torch.tensor(runner.message_hub.get_scalar('train/loss').data[0]).isfinite().all()
    with pytest.raises(ValueError, match='schedules an mmcausal.BBNClassifier'):
        CumulativeLearningHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1)))


def test_twin_resnext_concatenates_its_twins():
    init_default_scope('mmpretrain')
    net = MODELS.build(dict(type='mmcausal.TwinResNeXt', depth=50, groups=32, width_per_group=4))
    net.eval()
    assert len(net.layer4) == 2  # the third block exists twice
    image = torch.randn(1, 3, 32, 32)
    feature, = net(image)
    assert feature.shape == (1, 4096, 1, 1)
    shared = net.shared(image)
    torch.testing.assert_close(feature, torch.cat([net.twins[0](shared), net.twins[1](shared)], 1))


def oltr_head(**kwargs):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(type='mmcausal.OLTRHead', num_classes=3, in_channels=4, places=6, **kwargs))


def with_memory(head):
    with torch.no_grad():
        head.memory.add_samples(torch.randn(3, 4), torch.arange(3))
        head.memory.set_means()
    return head


def test_modulated_attention_in_loops():
    head, x = oltr_head(), torch.randn(2, 4, 2, 3)
    attention = head.attention
    for n in range(2):
        query, key, value = ([[float(v) for v in row] for row in conv(x[n:n + 1])[0].flatten(1).t()]
                             for conv in (attention.query, attention.key, attention.value))
        where = torch.softmax(attention.spatial(x[n].flatten()[None])[0], 0)
        for place in range(6):
            products = [sum(q * k for q, k in zip(query[place], key[other])) for other in range(6)]
            scores = torch.tensor(products).softmax(0)
            attended = [sum(float(scores[o]) * value[o][c] for o in range(6)) for c in range(2)]
            restored = attention.restore.weight[:, :, 0, 0] @ torch.tensor(attended)
            expected = x[n].flatten(1)[:, place] + where[place] * restored
            torch.testing.assert_close(attention(x)[n].flatten(1)[:, place], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r'of 6 places needs a feature map .* got \(1, 4, 3, 3\)'):
        attention(torch.randn(1, 4, 3, 3))


def test_meta_embedding_and_centroid_loss_in_loops():
    head, direct, labels = with_memory(oltr_head()), torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    memory = head.memory.weight.detach()
    attract, repel = 0., 0.
    for row, v in enumerate(direct):
        distances = [float((v - c).norm()) for c in memory]
        recalled = sum(o * c for o, c in zip(head.hallucinator(v).softmax(-1), memory))
        expected = 10 / min(distances) * (v + head.selector(v).tanh() * recalled)
        torch.testing.assert_close(head.meta_embedding(direct)[row], expected, rtol=1e-4, atol=1e-5)
        attract += distances[labels[row]]**2 / 2 / 5
        repel += sum(d**2 for c, d in enumerate(distances) if c != labels[row]) / 15
    value = head.centroid_loss(direct, labels)
    assert value.item() == pytest.approx(attract + 0.01 * max(0, 10 - repel), rel=1e-4)
    assert head.fc.normalizer == 'capsule' and head.fc.num_heads == 1


@pytest.mark.parametrize('model_type', ['ImageClassifier', 'mmcausal.StageTwoClassifier'])
def test_oltr_trains_from_stage_one(stage_one, tmp_path, model_type):
    cfg = make_config(tmp_path, **{'model.type': model_type, 'load_from': stage_one.checkpoint, 'model.neck': None,
                                   'custom_hooks': [dict(type='mmcausal.ClassMeansHook')],
                                   'optim_wrapper.optimizer.lr': 0.01})
    cfg.model.head = dict(type='mmcausal.OLTRHead', num_classes=10, in_channels=256, places=4)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.head.memory.has_means
    assert unchanged(runner, stage_one) == (model_type != 'ImageClassifier')
    for name in ('loss', 'loss_centroid'):
        assert torch.tensor(runner.message_hub.get_scalar(f'train/{name}').data[0]).isfinite().all()
    assert 0 <= runner.test()['accuracy/top1'] <= 100


def test_oltr_needs_centroids():
    head = oltr_head()
    with pytest.raises(RuntimeError, match='has no class means'):
        head((torch.randn(1, 4, 2, 3), ))
    with pytest.raises(ValueError, match='centroid_weight must be'):
        oltr_head(centroid_weight=-1)
    with pytest.raises(ValueError, match='fills the memory of an mmcausal.OLTRHead, but got Linear'):
        ClassMeansHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1), iter=0))
