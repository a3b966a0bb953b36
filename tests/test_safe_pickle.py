"""Unpickling that runs nothing."""
import io
import pickle

import numpy as np
import pytest
from helpers.wrong_files import RunsCommand

from mmcausal.safe_pickle import ARRAYS, ArrayUnpickler, UnsafePickleError


def load(content, **kwargs):
    return ArrayUnpickler(io.BytesIO(content), **kwargs).load()


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_types_are_read(protocol):
    value = dict(data=np.arange(6, dtype=np.uint8).reshape(2, 3), labels=[1, 2], names=['a', 'é'], raw=b'\xff\x00',
                 mean=np.float32(0.5), none=None, pair=(1., True), empty=np.zeros((0, 3)))
    found = load(pickle.dumps(value, protocol))
    assert found.keys() == value.keys()
    for key in ('data', 'empty'):
        assert found[key].dtype == value[key].dtype and np.array_equal(found.pop(key), value.pop(key))
    assert found == value and type(found['mean']) is np.float32


def test_the_names_of_numpy_1_and_2_are_read():
    content = pickle.dumps(np.arange(3), 0)
    core = b'numpy._core' if b'numpy._core' in content else b'numpy.core'
    for name in (b'numpy.core', b'numpy._core'):
        assert load(content.replace(core, name)).tolist() == [0, 1, 2]


@pytest.mark.parametrize('content, name', [
    (b"cos\nsystem\n(S'true'\ntR.", 'os.system'),
    (b"cbuiltins\neval\n(S'1'\ntR.", 'builtins.eval'),
    (b'\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.', 'numpy.ndarray.__init__'),  # a dotted name
    (b'c__builtin__\ngetattr\n.', '__builtin__.getattr'),
    (b'cnumpy\nload\n.', 'numpy.load'),
    (pickle.dumps(np.array([np.ndarray.sum], dtype=object)), 'builtins.getattr'),
])
def test_what_else_a_pickle_names_is_not_found(content, name):
    with pytest.raises(UnsafePickleError, match=f'it holds a {name}, which could run code'):
        load(content)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: [1, dict(a=x)], lambda x: np.array([x], dtype=object)])
def test_nothing_is_run(tmp_path, protocol, wrap):
    content = pickle.dumps(wrap(RunsCommand(tmp_path / 'ran')), protocol)
    with pytest.raises(UnsafePickleError, match='mkdir'):
        load(content)
    assert not (tmp_path / 'ran').exists()
    pickle.loads(content)
    assert (tmp_path / 'ran').exists()  # the test above can fail


def test_nothing_that_may_be_named_opens_files_or_imports():
    assert set(ARRAYS) == {'numpy.ndarray', 'numpy.dtype', '_codecs.encode', '__builtin__.bytes', *(
        f'numpy.{core}.{name}' for core in ('core', '_core')
        for name in ('multiarray._reconstruct', 'multiarray.scalar', 'numeric._frombuffer'))}
