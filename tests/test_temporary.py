"""Attributes for a while."""
from types import SimpleNamespace

import pytest

from mmcausal.temporary import temporarily


def test_values_are_those_within_alone_and_after_an_error_too():
    owner = SimpleNamespace(alpha=1.5, other=None)
    with temporarily(owner, alpha=0., other=[1]):
        assert (owner.alpha, owner.other) == (0., [1])
        with temporarily(owner, alpha=0.5):
            assert owner.alpha == 0.5
        assert owner.alpha == 0.
    with pytest.raises(RuntimeError, match='within'), temporarily(owner, alpha=2.):
        raise RuntimeError('within')
    assert (owner.alpha, owner.other) == (1.5, None)


def test_an_unknown_attribute_changes_nothing():
    owner = SimpleNamespace(alpha=1.5)
    with pytest.raises(AttributeError, match='beta'), temporarily(owner, alpha=0., beta=0.):
        pass
    assert vars(owner) == dict(alpha=1.5)
