"""Properties of every public function of ``functional`` and ``class_prior``, for drawn tensors and counts."""
import math

import pytest
import torch
from helpers import oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcausal import class_prior, functional

examples = settings(max_examples=200, derandomize=True, deadline=None)
KINDS = st.sampled_from(sorted(functional.NORMALIZERS))
VALUES = st.floats(-100, 100, width=32)
ALPHAS = st.floats(-3, 3)
COUNTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=8)


@st.composite
def tensors(draw, *rows, columns):
    """Draw tensors in double precision with that many rows, or vectors for ``None``."""
    shapes = [(columns, ) if count is None else (count, columns) for count in rows]
    values = [draw(st.lists(VALUES, min_size=math.prod(shape), max_size=math.prod(shape))) for shape in shapes]
    return [torch.tensor(each, dtype=torch.float64).reshape(shape) for each, shape in zip(values, shapes)]


@st.composite
def problems(draw, kinds=KINDS):
    """Draw features (N, D), weights (C, D), mean feature (D,), and hyper-parameters by name."""
    num_heads, per_head = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x, weight, mean = draw(tensors(draw(st.integers(0, 3)), draw(st.integers(1, 3)), None,
                                   columns=num_heads * per_head))
    return x, weight, mean, dict(num_heads=num_heads, tau=draw(st.floats(0.01, 50)),
                                 gamma=draw(st.just(0.) | st.floats(1e-6, 2)), normalizer=draw(kinds))


def close(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype).reshape(actual.shape), rtol=1e-7,
                               atol=1e-7)


@examples
@given(problems(), ALPHAS)
def test_effects_and_tde_are_those_of_the_oracle(problem, alpha):
    x, weight, mean, args = problem
    loops = dict(num_heads=args['num_heads'], tau=args['tau'], gamma=args['gamma'], kind=args['normalizer'])
    lists = x.tolist(), weight.tolist(), mean.tolist()
    total = functional.deconfounded_logits(x, weight, **args)
    close(total, oracle.tde_logits(*lists, 0., **loops))
    close(functional.total_direct_effect(x, weight, mean, alpha, **args), oracle.tde_logits(*lists, alpha, **loops))
    head = functional.head_effect(x, weight, mean, **args)
    close(total - alpha * head, oracle.tde_logits(*lists, alpha, **loops))
    both = functional.effects(x, weight, mean, **args)
    assert torch.equal(both[0], total) and torch.equal(both[1], head)


@examples
@given(problems(), ALPHAS)
def test_folding_changes_no_logit(problem, alpha):
    x, weight, mean, args = problem
    features = functional.normalized_features(x, args['num_heads'], args['normalizer'])
    folded = functional.folded_weight(weight, mean, alpha, **args)
    assert features.shape == x.shape and folded.shape == weight.shape
    close(features @ folded.t(), functional.total_direct_effect(x, weight, mean, alpha, **args))


@examples
@given(problems(st.sampled_from(['cosine', 'deconfound'])), st.floats(-30, 30), ALPHAS)
def test_the_length_of_features_and_direction_does_not_act(problem, exponent, alpha):
    x, weight, mean, args = problem
    expected = functional.total_direct_effect(x, weight, mean, alpha, **args)
    for scaled in ((10**exponent * x, mean), (x, 10**exponent * mean), (x, -mean)):
        close(functional.total_direct_effect(scaled[0], weight, scaled[1], alpha, **args), expected)


@examples
@given(problems(st.sampled_from(['capsule', 'cosine', 'deconfound'])))
def test_logits_are_at_most_tau(problem):
    x, weight, mean, args = problem
    for logits in functional.effects(x, weight, mean, **args):
        assert (logits.abs() <= args['tau'] * (1 + 1e-9)).all()


@examples
@given(problems(), st.randoms(use_true_random=False), ALPHAS)
def test_samples_and_classes_have_no_order(problem, random, alpha):
    x, weight, mean, args = problem
    rows, classes = list(range(len(x))), list(range(len(weight)))
    random.shuffle(rows)
    random.shuffle(classes)
    logits = functional.total_direct_effect(x, weight, mean, alpha, **args)
    moved = functional.total_direct_effect(x[rows], weight[classes], mean, alpha, **args)
    close(moved, logits[rows][:, classes])


@examples
@given(problems(), ALPHAS)
def test_half_precision_is_that_of_the_rounded_input(problem, alpha):
    x, weight, mean = (tensor.half() for tensor in problem[:3])
    full = functional.total_direct_effect(x.float(), weight.float(), mean.float(), alpha, **problem[3])
    for half in (functional.total_direct_effect(x, weight, mean, alpha, **problem[3]),
                 functional.total_direct_effect(x, weight=weight, mean_feature=mean, alpha=alpha, **problem[3]),
                 functional.total_direct_effect(x=x, weight=weight, mean_feature=mean, alpha=alpha, **problem[3])):
        assert half.dtype == torch.float32 and torch.equal(half, full)


@examples
@given(problems(), ALPHAS)
def test_gradients_are_finite_with_zeros_too(problem, alpha):
    x, weight, mean, args = problem
    x, weight = x.round().requires_grad_(), weight.round().requires_grad_()
    functional.total_direct_effect(x, weight, mean, alpha, **args).sum().backward()
    assert x.grad.isfinite().all() and weight.grad.isfinite().all()


@examples
@given(problems())
def test_heads_have_unit_length_or_are_zero(problem):
    x, _, mean, args = problem
    units = functional.unit_heads(x, args['num_heads'])
    lengths = units.unflatten(1, (args['num_heads'], -1)).norm(dim=-1)
    zero = ~x.unflatten(1, (args['num_heads'], -1)).any(-1)
    close(lengths, (~zero).double())
    close(functional.unit_heads(units, args['num_heads']), units)
    assert torch.equal(functional.head_direction(mean, args['num_heads']),
                       functional.unit_heads(mean[None], args['num_heads'])[0])


@examples
@given(problems())
def test_mean_cosine_is_that_of_the_oracle_and_odd(problem):
    x, _, mean, args = problem
    num_heads = args['num_heads']
    cosines = [oracle.dot(head, direction) / oracle.norm(head) if oracle.norm(head) else 0. for row in x.tolist()
               for head, direction in zip(oracle.heads(row, num_heads), oracle.direction(mean.tolist(), num_heads))]
    found = functional.mean_cosine(x, mean, num_heads)
    close(found, sum(cosines) / max(len(cosines), 1))
    close(functional.mean_cosine(-x, mean, num_heads), -found)
    assert -1 - 1e-9 <= found <= 1 + 1e-9


@examples
@given(st.data(), st.integers(2, 5), st.integers(0, 3))
def test_background_exemption_is_that_of_the_oracle(data, classes, rows):
    logits, tde = data.draw(tensors(rows, rows, columns=classes))
    logits, tde = logits / 10, tde / 10  # the oracle divides by 1 - q
    background = data.draw(st.integers(-classes, classes - 1))
    log_probs = functional.background_exempt(logits, tde, background)
    close(log_probs.exp(), [oracle.exempted_probs(*pair, background) for pair in zip(logits.tolist(), tde.tolist())])
    close(log_probs.softmax(-1), log_probs.exp())
    close(log_probs[:, background], logits.log_softmax(-1)[:, background])


@examples
@given(st.data(), st.floats(0, 1, exclude_max=True), st.integers(1, 4), st.integers(1, 5))
def test_moving_average_is_a_weighted_mean_of_the_past(data, momentum, channels, steps):
    batches, = data.draw(tensors(steps, columns=channels))
    average = torch.zeros(channels, dtype=torch.float64)
    for batch in batches:
        average = functional.update_moving_average(average, batch, momentum)
    weights = [(1 - momentum) * momentum**(steps - 1 - step) for step in range(steps)]
    close(average, sum(weight * batch for weight, batch in zip(weights, batches)))


NUMBERS = st.one_of(st.integers(-3, 9), st.floats(), st.booleans(), st.none(), st.text(max_size=2))


def is_valid(channels, num_heads, tau, gamma, normalizer):
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
               for value in (num_heads, tau, gamma)]
    return (all(numbers) and isinstance(num_heads, int) and num_heads >= 1 and channels > 0
            and channels % num_heads == 0 and tau > 0 and gamma >= 0 and normalizer in functional.NORMALIZERS)


@examples
@given(st.tuples(st.integers(0, 12), NUMBERS, NUMBERS, NUMBERS, st.one_of(KINDS, NUMBERS)))
def test_hyperparameters_are_valid_or_a_value_error(arguments):
    if is_valid(*arguments):
        functional.check_hyperparameters(*arguments)
    else:
        with pytest.raises(ValueError, match='must'):
            functional.check_hyperparameters(*arguments)


@examples
@given(st.lists(st.one_of(st.integers(-2, 9), st.floats(), st.booleans(), st.none()), max_size=5),
       st.one_of(st.none(), st.integers(1, 5)), st.integers(0, 1))
def test_class_counts_are_kept_or_a_value_error(counts, num_classes, fewest):
    fits = counts and num_classes in (None, len(counts)) and all(
        isinstance(count, (int, float)) and not isinstance(count, bool) and math.isfinite(count) and count >= fewest
        for count in counts)
    if fits:
        assert class_prior.check_class_counts(counts, num_classes, fewest).tolist() == counts
    else:
        with pytest.raises(ValueError, match='must|needs'):
            class_prior.check_class_counts(counts, num_classes, fewest)


@examples
@given(COUNTS)
def test_log_prior_is_the_share_of_the_images(counts):
    close(class_prior.log_prior(counts).exp(), [count / sum(counts) for count in counts])
    close(class_prior.log_prior(counts), class_prior.class_probabilities(torch.tensor(counts), 1.).log())


@examples
@given(COUNTS, st.floats(-5, 5))
def test_class_probabilities_are_powers_of_the_counts(counts, power):
    probs = class_prior.class_probabilities(counts, power)
    assert float(probs.sum()) == pytest.approx(1)
    close((probs / probs[0]).log(), [power * math.log(count / counts[0]) for count in counts])


@examples
@given(st.lists(st.integers(1, 200), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True))
def test_effective_numbers_are_sums_of_powers(counts, beta):
    weights = class_prior.effective_number_weights(counts, beta)
    raw = [1 / math.fsum(beta**power for power in range(count)) for count in counts]
    assert weights.tolist() == pytest.approx([len(counts) * each / math.fsum(raw) for each in raw], rel=1e-6)


@examples
@given(COUNTS, st.floats(0, 3))
def test_margins_shrink_with_the_fourth_root(counts, max_margin):
    margins = class_prior.ldam_margins(counts, max_margin)
    close(margins, [max_margin * (min(counts) / count)**0.25 for count in counts])
    assert float(margins.max()) == pytest.approx(max_margin)


@examples
@given(COUNTS, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_smoothing_grows_from_tail_to_head(counts, one, other):
    tail, head = sorted((one, other))
    smoothing = class_prior.label_aware_smoothing(counts, head, tail)
    span = max(max(counts) - min(counts), 1)
    close(smoothing, [tail + (head - tail) * math.sin(math.pi / 2 * (count - min(counts)) / span) for count in counts])
    assert smoothing[counts.index(min(counts))] == tail
    if tail < head:
        with pytest.raises(ValueError, match='tail must not be smoothed more than head'):
            class_prior.label_aware_smoothing(counts, tail, head)


def test_every_public_function_has_a_property():
    text = open(__file__, encoding='utf-8').read()
    functions = [f'{module.__name__.split(".")[-1]}.{name}' for module in (functional, class_prior)
                 for name in module.__all__ if name[0].islower()]
    assert len(functions) == 18 and all(f'{function}(' in text for function in functions)
