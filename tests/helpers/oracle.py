"""The equations of the paper as plain loops over floats: slow, and independent of mmcausal."""
import math


def heads(vector, num_heads):
    size = len(vector) // num_heads
    return [vector[k * size:(k + 1) * size] for k in range(num_heads)]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b))


def norm(a):
    return math.sqrt(dot(a, a))


def normaliser(x, w, gamma, kind):
    """N(x, w) of one head."""
    return {
        'linear': 1.,
        'cosine': norm(x) * norm(w),
        'capsule': (norm(x) + 1) * norm(w),
        'deconfound': norm(x) * (norm(w) + gamma),
    }[kind]


def direction(mean, num_heads):
    return [[v / norm(head) if norm(head) else 0. for v in head] for head in heads(mean, num_heads)]


def tde_logits(xs, weights, mean, alpha, num_heads, tau, gamma, kind):
    """Eq. 8 for lists of features (N, D) and weights (C, D); Eq. 7 where alpha is 0."""
    scale = 1. if kind == 'linear' else tau / num_heads
    result = []
    for x in xs:
        row = []
        for w in weights:
            logit = 0.
            for xk, wk, dk in zip(heads(x, num_heads), heads(w, num_heads), direction(mean, num_heads)):
                n = normaliser(xk, wk, gamma, kind)
                if n > 0:
                    logit += dot(wk, xk) / n - alpha * dot(xk, dk) * dot(wk, dk) / n
            row.append(scale * logit)
        result.append(row)
    return result


def softmax(row):
    top = max(row)
    exps = [math.exp(v - top) for v in row]
    return [v / sum(exps) for v in exps]


def exempted_probs(logits, tde, background):
    """Eq. 9 for one row of each."""
    p, q = softmax(logits), softmax(tde)
    background %= len(p)
    return [p[i] if i == background else (1 - p[background]) * q[i] / (1 - q[background]) for i in range(len(p))]
