"""Clauses about a checkpoint that is not one of the model or its data."""
import pytest

from mmcausal.checkpoints import check_checkpoint, differences, moved_classes, renamed_classes, summary


def test_differences_name_each_entry():
    own, saved = dict(a=(1, ), b=(2, 3), c=()), dict(b=(2, 4), c=(), d=(5, ))
    assert differences(own, saved) == [
        'a has shape (1,) here, but is not in the checkpoint', 'b has shape (2, 3) here, but (2, 4) in the checkpoint',
        'd has shape (5,) in the checkpoint, but is not here']
    assert differences({}, {}) == [] and summary(list('abcde')) == 'a; b; c and 2 more'
    with pytest.raises(ValueError, match='^the checkpoint is not one of this Net: a; b; c and 1 more. Do x$'):
        check_checkpoint('Net', list('abcd'), '. Do x')
    check_checkpoint('Net', [])


@pytest.mark.parametrize('own, saved, renamed, moved', [
    (['cat', 'dog'], ['cat', 'dog'], [], []),
    (['Traffic light', 'sea-lion'], ['traffic_light', 'Sea Lion'], [], []),  # spelling
    (['Stra\u00dfe', 'cafe\u0301'], ['STRASSE', 'caf\u00e9'], [], []),  # and Unicode
    (['cat', 'dog'], ['cat', 'cow'], [1], []),
    (['cat', 'dog'], ['dog', 'cat'], [0, 1], [0, 1]),
    (['cat', 'dog', 'axolotl'], ['axolotl', 'cat', 'cow'], [0, 1, 2], [0, 2]),
    (['crane', 'bird', 'crane'], ['bird', 'crane', 'crane'], [0, 1], [1]),  # 'crane' is two classes
    (['-', '_', '$'], ['-', '_', '$'], [], []), (['-', '_'], ['_', '-'], [0, 1], [0, 1]),
    (['cat', 'dog'], ['cat', 'cow', 'dog'], [], [1]),  # folders without that of a class
    (['cat', 'dog'], ['cat', 'dog', 'eel'], [], []), (['cat'], [], [], []), ([], [], [], []),  # nothing to compare
])
def test_names_of_classes(own, saved, renamed, moved):
    assert renamed_classes(own, saved) == [
        f'class {label} is {own[label]!r} here, but {saved[label]!r} in the checkpoint' for label in renamed]
    assert [clause.split(' is class ')[0] for clause in moved_classes(own, saved)] == [repr(own[i]) for i in moved]
    assert moved_classes(['cat', 'dog'], ['dog', 'cat'])[0] == "'cat' is class 0 here, but class 1 in the checkpoint"
