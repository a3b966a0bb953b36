"""Configs with a chosen alpha: where it goes for each kind of model, and that all who read them infer with it."""
import numpy as np
import pytest
import torch
from helpers.commands import BASELINE, DIGITS, ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint

from mmcausal.analysis import check_config_name, configured_alphas, write_alpha_config
from mmcausal.models import enable_tde
from mmcausal.models.enable_tde import without_wrappers
from mmcausal.registry import MODELS

DECONFOUND = 'configs/digits_lt/deconfound_small_ir100.py'
# Config, what is added to it, and the line that sets alpha
KINDS = [
    (DECONFOUND, '', 'model = dict(head=dict(alpha=0.7))'),
    (DIGITS, '', 'model = dict(head=dict(alpha=0.7))'),
    (DIGITS, "tta_model = dict(alpha='auto')", 'model = dict(head=dict(alpha=0.7))\ntta_model = dict(alpha=0.7)'),
    ('configs/cifar100_lt/tau-norm_r32_ir100.py', '', 'model = dict(head=dict(classifier=dict(alpha=0.7)))'),
    ('configs/imagenet_lt/oltr_x50_90e.py', '', "model = dict(_delete_=True, type='mmcausal.TDEClassifierTTA', "
     "alpha=0.7, module=_base_.model)\ntta_model = dict(_delete_=True, type='mmcausal.TDEClassifierTTA')"),
    (BASELINE, '', "model = dict(_delete_=True, type='mmcausal.TDEClassifierTTA', alpha=0.7, module=_base_.model)\n"
     "tta_model = dict(_delete_=True, type='mmcausal.TDEClassifierTTA')"),
    (BASELINE, "model = dict(_delete_=True, type='mmcausal.TDEClassifierTTA', alpha=0.1, module=_base_.model)",
     'model = dict(alpha=0.7)'),
    ('configs/shapes_lvis/cascade_tde_r18.py', '', 'model = dict(roi_head=dict(classifier=dict(alpha=0.7)))'),
    ('configs/shapes_lvis/cascade_baseline_r18.py', '', "model = dict(_delete_=True, type='mmcausal.TDEDetectorTTA', "
     'alpha=0.7, module=_base_.model, data_preprocessor=_base_.model.data_preprocessor)\n'
     "tta_model = dict(_delete_=True, type='mmcausal.TDEDetectorTTA')"),
]


@pytest.mark.parametrize('base, addition, lines', KINDS)
def test_alpha_goes_where_the_model_takes_it(tmp_path, base, addition, lines):
    config = tmp_path / 'own configs' / 'ähnlich.py'
    config.parent.mkdir()
    config.write_text(f'_base_ = {str(ROOT / base)!r}\n{addition}\n', encoding='utf-8')
    out = tmp_path / 'new' / 'chosen.py'
    write_alpha_config(str(config), 0.7, out, reason='why')
    assert out.read_text(encoding='utf-8') == f"# why\n_base_ = '../own configs/ähnlich.py'\n{lines}\n"
    assert set(configured_alphas(Config.fromfile(out))) == {0.7}
    assert 0.7 not in configured_alphas(Config.fromfile(config))
    again = tmp_path / 'again.py'
    write_alpha_config(str(out), 'auto', again)  # of a config that was written before
    assert set(configured_alphas(Config.fromfile(again))) == {'auto'}


def test_another_layer_than_the_usual(tmp_path):
    config = tmp_path / 'arcface.py'
    config.write_text("default_scope = 'mmpretrain'\nhead = dict(type='ArcFaceClsHead', num_classes=4, "
                      "in_channels=512)\nbackbone = dict(type='ResNet', depth=18)\n"
                      "model = dict(type='ImageClassifier', backbone=backbone, head=head)\n")
    write_alpha_config(str(config), 0.5, tmp_path / 'out.py', 'head.norm_product')
    cfg = Config.fromfile(tmp_path / 'out.py')
    assert configured_alphas(cfg, 'head.norm_product') == [0.5] and '_delete_' not in cfg.tta_model
    with pytest.raises(ValueError, match=r"no config with alpha=0.5 follows .* is not a layer of ImageClassifier"):
        write_alpha_config(str(config), 0.5, tmp_path / 'other.py')
    assert not (tmp_path / 'other.py').exists()


def test_no_file_is_overwritten_unasked(tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text('# mine')
    with pytest.raises(ValueError, match='must end in .py'):
        check_config_name(tmp_path / 'out.json')
    with pytest.raises(ValueError, match='must end in .py'):
        write_alpha_config(BASELINE, 1., tmp_path / 'out.json')
    with pytest.raises(ValueError, match='exists and is not overwritten'):
        write_alpha_config(BASELINE, 1., mine)
    with pytest.raises(ValueError, match='must be another file than the input'):
        write_alpha_config(str(mine), 1., mine, overwrite=True)
    with pytest.raises(ValueError, match='no config with alpha=1.0 follows'):
        write_alpha_config(BASELINE, 1., mine, classifier='neck', overwrite=True)
    assert mine.read_text() == '# mine' and [path.name for path in tmp_path.iterdir()] == ['mine.py']
    write_alpha_config(BASELINE, 1., mine, overwrite=True)
    assert configured_alphas(Config.fromfile(mine)) == [1.]


def with_direction(config, path):
    """Save the untrained classifier of a config, with a head direction."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(ROOT / config).model)
    layer = enable_tde(model, 0.)
    layer.observe(torch.rand(9, layer.in_features))
    layer.update_direction(0.)
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


@pytest.mark.parametrize('base', [BASELINE, DECONFOUND])
def test_the_runner_and_the_inferencers_of_mmpretrain_agree(tmp_path, base):
    from mmpretrain import ImageClassificationInferencer, get_model
    out, checkpoint = tmp_path / 'chosen.py', with_direction(base, tmp_path / 'untrained.pth')
    write_alpha_config(str(ROOT / base), 0.7, out)
    expected = MODELS.build(Config.fromfile(ROOT / base).model)
    enable_tde(expected, 0.7)
    load_checkpoint(expected, checkpoint)
    cfg = Config.fromfile(out)
    cfg.work_dir, cfg.experiment_name, cfg.load_from = str(tmp_path), tmp_path.name, checkpoint
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    batch = next(iter(runner.test_dataloader))
    images = torch.stack(list(batch['inputs'])).float()
    with torch.no_grad():
        probs = expected.eval()((images - 127.5) / 127.5).softmax(-1)
    labels = [int(sample.gt_label) for sample in batch['data_samples']]
    assert metrics['shot/overall'] == pytest.approx(100 * np.mean(probs.argmax(-1).numpy() == labels))

    inferencer = ImageClassificationInferencer(str(out), pretrained=checkpoint, device='cpu')
    model = get_model(str(out), pretrained=checkpoint).eval()
    for index in range(3):
        image = batch['inputs'][index].numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(inferencer(image)[0]['pred_scores'], probs[index], atol=1e-6)
    one = dict(inputs=[batch['inputs'][0]], data_samples=[batch['data_samples'][0]])
    torch.testing.assert_close(model.test_step(one)[0].pred_score, probs[0])


@pytest.mark.parametrize('name', ['cascade_baseline_r18', 'cascade_tde_r18'])
def test_the_inferencer_of_mmdetection_takes_the_alpha(tmp_path, name):
    from mmdet.apis import DetInferencer

    from mmcausal.models import enable_detector_tde
    init_default_scope('mmdet')
    out = tmp_path / 'chosen.py'
    base = ROOT / f'configs/shapes_lvis/{name}.py'
    write_alpha_config(str(base), 0.7, out)
    torch.manual_seed(0)
    detector = MODELS.build(Config.fromfile(base).model)
    for layer in enable_detector_tde(detector, 0.7):
        layer.mean_feature.uniform_(0.5, 1)
    checkpoint = tmp_path / 'detector.pth'
    torch.save(dict(state_dict=detector.state_dict(), meta=dict(dataset_meta=dict(classes=['a'] * 24))), checkpoint)
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)

    inferencer = DetInferencer(str(out), str(checkpoint), device='cpu', show_progress=False)
    found, = inferencer(image, no_save_vis=True, no_save_pred=True)['predictions']
    assert np.isfinite(found['scores']).all() and len(found['labels']) == len(found['bboxes'])
    own = without_wrappers(inferencer.model)
    assert [head.fc_cls.alpha for head in own.roi_head.bbox_head] == [0.7] * 3
    for head, expected in zip(own.roi_head.bbox_head, detector.roi_head.bbox_head):
        assert torch.equal(head.fc_cls.mean_feature, expected.fc_cls.mean_feature)
        assert torch.equal(head.fc_cls.weight, expected.fc_cls.weight)


def test_configs_of_pure_python_are_refused(tmp_path):
    config = tmp_path / 'lazy.py'
    config.write_text('from mmpretrain.models import ImageClassifier\nmodel = dict(type=ImageClassifier)\n')
    with pytest.raises(ValueError, match='lazy.py must name its types as text, .* set alpha=0.5 in it'):
        write_alpha_config(str(config), 0.5, tmp_path / 'out.py')
    assert not (tmp_path / 'out.py').exists()


def test_bases_of_a_linked_config_are_beside_the_link(tmp_path):
    for folder in ('shared', 'run'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'run' / 'base.py').write_text(f"_base_ = '{ROOT / DIGITS}'\n")
    (tmp_path / 'shared' / 'real.py').write_text("_base_ = './base.py'\n")
    (tmp_path / 'run' / 'link.py').symlink_to('../shared/real.py')
    write_alpha_config(tmp_path / 'run' / 'link.py', 0.7, tmp_path / 'chosen.py')
    assert Config.fromfile(tmp_path / 'chosen.py').model.head.alpha == 0.7
