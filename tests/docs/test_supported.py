"""The tables of docs/supported.md: each row is a case, and what it says is true."""
import re

import pytest
import torch
from helpers import oracle, supported_classifiers, supported_detectors
from helpers.commands import ROOT
from helpers.detectors import given_to_nms, heads_of, predict, with_direction
from helpers.host_detectors import host_detector

from mmcausal import check_tde
from mmcausal.models import TDELinear, enable_detector_tde, enable_tde

PAGE = (ROOT / 'docs' / 'supported.md').read_text()


def rows(heading):
    """Return the cells of the table below a heading, by the first of the row."""
    table = PAGE.split(f'### {heading}\n')[1].split('\n#')[0]
    cells = [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
             for line in table.splitlines() if line.startswith('|')][2:]
    return {first: rest for first, *rest in cells}


CLASSIFICATION = {
    'Heads': supported_classifiers.HEADS,
    'Layers of this package': supported_classifiers.LAYERS,
    'Losses of classifiers': supported_classifiers.LOSSES,
    'Classifiers of images': supported_classifiers.MODELS_OF_IMAGES,
}
CLASSIFIERS = [pytest.param(case, *rows(heading)[name], id=name) for heading, cases in CLASSIFICATION.items()
               for name, case in cases.items()]
TRAINED = rows('Detectors')
REFUSED = rows('Refused detectors')
LOSSES = rows('Losses of box heads')


def test_each_row_is_a_case():
    for heading, cases in CLASSIFICATION.items():
        assert list(rows(heading)) == list(cases)
    assert list(TRAINED) == list(supported_detectors.HOST_CONFIGS_WITH_TDE)
    assert list(REFUSED) == list(supported_detectors.REFUSED)
    assert list(LOSSES) == list(supported_detectors.LOSSES)
    assert sum(len(table) for table in (*map(rows, CLASSIFICATION), TRAINED, REFUSED, LOSSES)) >= 25


def sentence(cell):
    """Return the error that a cell promises, or nothing."""
    assert cell == 'works' or cell.startswith('refused: ')
    return cell[len('refused: '):]


def check_refusal(words, call):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).endswith(words) and 'use ' in words


def expected_logits(layer, x, alpha):
    """Return the logits (N, C) of the equations, in float64."""
    offset = layer.offset()
    rows = oracle.tde_logits(x.double().tolist(), layer.effective_weight().double().tolist(),
                             layer.mean_feature.double().tolist(), alpha, layer.num_heads, getattr(layer, 'tau', 1.),
                             getattr(layer, 'gamma', 0.), layer.normalizer)
    return torch.tensor(rows, dtype=torch.float64) + (0 if offset is None else offset.double())


@pytest.mark.parametrize('case, classifier, cell', CLASSIFIERS)
def test_classification(case, classifier, cell):
    assert classifier == f'`{case.classifier}`'
    model = case.build()
    if cell != 'works':
        before = dict(model.named_modules())
        check_refusal(sentence(cell), lambda: enable_tde(model, 1., case.classifier))
        assert dict(model.named_modules()) == before
        return
    inputs = torch.rand(4, *case.shape)
    with torch.no_grad():
        stock = case.predict(model, inputs)
        layer = enable_tde(model, 0., case.classifier)
        seen = []
        layer.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
        torch.testing.assert_close(case.predict(model, inputs), stock, atol=1e-5, rtol=1e-4)
        x, total_effect = seen[0]
        layer.observe(x + 1)
        layer.update_direction(0.)
        layer.alpha = 1.5
        scores = case.predict(model, inputs)
        expected, factual = (expected_logits(layer, x, alpha) for alpha in (1.5, 0.))
        torch.testing.assert_close(total_effect.double(), factual, atol=1e-4, rtol=1e-4)
        # What the head does to the logits, a factor and an offset, is in the stock scores
        factor = scale_of(stock, factual)
        logits = stock.double().log() + factor * (expected - factual)
        torch.testing.assert_close(scores.double(), logits.softmax(1), atol=1e-4, rtol=1e-3)


def scale_of(scores, logits):
    """Return the factor between log-probabilities and logits, for the first two samples and classes."""
    log_scores = scores.double().log()
    (a, b), (c, d) = log_scores[:2, :2]
    (e, f), (g, h) = logits[:2, :2]
    return ((a - b) - (c - d)) / ((e - f) - (g - h))


def observed_labels(detector):
    """Record, for each stage, which proposals the classifier observes in a step, and the labels of the host's loss."""
    record = []
    for head in heads_of(detector):
        masks, labels = [], []
        observe, get_targets = head.fc_cls.observe, head.get_targets
        head.fc_cls.observe = lambda x, mask, masks=masks, observe=observe: (masks.append(mask), observe(x, mask))
        head.get_targets = lambda *args, labels=labels, get_targets=get_targets, **kwargs: record_labels(
            labels, get_targets(*args, **kwargs))
        record.append((masks, labels))
    return record


def record_labels(labels, targets):
    labels.append(targets[0].clone())
    return targets


@pytest.mark.parametrize('name', TRAINED)
def test_detector_of_the_host_trains_and_infers_by_tde(name):
    roi_head, cell = TRAINED[name]
    detector = host_detector(supported_detectors.HOST_CONFIGS_WITH_TDE[name], tde=True, classifier=dict(alpha=0.))
    assert cell == 'works' and roi_head == f'`mmcausal.{type(detector.roi_head).__name__}`'
    record = observed_labels(detector)
    with_direction(detector, 1.5, steps=2)
    for head, (masks, labels) in zip(heads_of(detector), record):
        assert len(masks) == len(labels) == head.fc_cls.num_updates == 2
        for mask, label in zip(masks, labels):
            assert torch.equal(mask, label < head.num_classes) and mask.any() and not mask.all()
        check_tde(detector, next(key for key, module in detector.named_modules() if module is head.fc_cls))
    probs, features = given_to_nms(detector)
    stages = []
    for head, x in zip(heads_of(detector), features):
        x = x[:len(probs)]  # SCNet calls the last head once more, for masks
        pairs = zip(*(expected_logits(head.fc_cls, x, alpha).tolist() for alpha in (0., 1.5)))
        stages.append(torch.tensor([oracle.exempted_probs(z, t, -1) for z, t in pairs]))
    torch.testing.assert_close(probs, sum(stages) / len(stages), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize('name', TRAINED)
def test_trained_detector_of_the_host_infers_by_tde(name):
    detector = host_detector(supported_detectors.HOST_CONFIGS_WITH_TDE[name])
    for head in heads_of(detector):
        torch.nn.init.normal_(head.fc_cls.weight, std=0.3)
    stock, _ = given_to_nms(detector)
    layers = enable_detector_tde(detector, 0.)
    factual, _ = given_to_nms(detector)
    if len(layers) == 1:  # a cascade averages probabilities from now on, not logits
        torch.testing.assert_close(factual, stock, atol=1e-5, rtol=1e-4)
    with_direction(detector, 1.5, steps=1)
    assert all(isinstance(layer, TDELinear) and layer.num_updates == 1 for layer in layers)
    probs, _ = given_to_nms(detector)
    assert probs.isfinite().all()


@pytest.mark.parametrize('name', REFUSED)
def test_refused_detectors(name):
    case, (roi_head, cell) = supported_detectors.REFUSED[name], REFUSED[name]
    assert roi_head == (f'`mmcausal.{case.roi_head}`' if case.roi_head else '`enable_detector_tde`')
    check_refusal(sentence(cell), case.build)


@pytest.mark.parametrize('name', LOSSES)
def test_losses_of_box_heads(name):
    loss, (cell, ) = supported_detectors.LOSSES[name], LOSSES[name]
    stock = host_detector(supported_detectors.FASTER_RCNN, loss_cls=loss)
    if cell != 'works':
        check_refusal(sentence(cell), lambda: host_detector(supported_detectors.FASTER_RCNN, True, loss))
        check_refusal(sentence(cell), lambda: enable_detector_tde(stock, 0.))
        return
    assert len(enable_detector_tde(stock, 0.)) == 1
    detector = host_detector(supported_detectors.FASTER_RCNN, True, loss)
    for module in detector.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts([100, 50, 20, 10, 5, 2])
    for sample in predict(with_direction(detector, 1.5, steps=1)):
        assert sample.pred_instances.scores.isfinite().all()
