"""Held-out images of an annotation file in COCO format, by the command."""
import json
import runpy
import sys

import pytest
from helpers.commands import ROOT

TOOL = ROOT / 'tools' / 'dataset_converters' / 'hold_out_coco.py'


@pytest.fixture
def hold_out(monkeypatch, capsys):
    """A function that runs the tool in this process, and returns what it prints or exits with."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            return error.code
        return capsys.readouterr().out

    return run


def write(file, numbers=(12, 5, 2), **more):
    """Write a file in which category k has as many images as ``numbers`` says, and two images have nothing."""
    annotations = [dict(id=i, image_id=i, category_id=7 * k, bbox=[0, 0, 5, 5], area=25)
                   for i, k in enumerate([k for k, number in enumerate(numbers) for _ in range(number)])]
    content = dict(images=[dict(id=i, file_name=f'{i}.jpg') for i in range(len(annotations) + 2)],
                   categories=[dict(id=7 * k, name=f'é {k}') for k in range(len(numbers) + 1)], annotations=annotations)
    file.write_text(json.dumps(dict(content, **more)))
    return file


def test_two_new_files(hold_out, tmp_path, capsys):
    source = write(tmp_path / 'all.json')
    before = source.read_bytes()
    files = tmp_path / 'new' / 'train.json', tmp_path / 'new' / 'held_out.json'
    output = hold_out(source, *files, '--per-category', 1)
    assert "No training image: 'é 3'" in output and 'held_out.json: 3 images, 1 to 1 of each category' in output
    train, held_out = (json.loads(file.read_text()) for file in files)
    assert len(train['images']) == 18 and train['categories'] == held_out['categories']
    assert {a['image_id'] for a in held_out['annotations']} == {i['id'] for i in held_out['images']}

    other = tmp_path / 'x.json'
    for outputs, words in (((files[0], other), 'train.json exists and is not overwritten'),
                           ((other, source), 'must be another file than the input'),
                           ((other, other), 'the outputs must be different files, but got')):
        assert hold_out(source, *outputs, '--per-category', 1) == 2 and words in capsys.readouterr().err
    assert source.read_bytes() == before and not other.exists()


def test_a_share_of_each_category_and_bad_input(hold_out, tmp_path):
    source, files = write(tmp_path / 'all.json'), (tmp_path / 'train.json', tmp_path / 'held_out.json')
    for name, words in (('yak', "all.json, but got 'yak'"), ('É 1', "but got 'É 1'; did you mean 'é 1'?")):
        output = hold_out(source, *files, '--fraction', .4, '--classes', 'é 0', name)
        assert output.startswith('--classes must be categories of') and output.endswith(words)
    assert hold_out(source, *files, '--per-category', 2) == (
        "the rarest category, 'é 2', has 2 training images and can spare 1, but got 2 to hold out")
    for option, value, words in (('--per-category', 0, 'must be a number in [1, inf), but got 0'),
                                 ('--fraction', 1.5, 'must be a number in (0, 1), but got 1.5'),
                                 ('--fraction', 0.01, 'no category has enough images to hold out one')):
        assert words in hold_out(source, *files, option, value)
    assert 'there is no' in hold_out(tmp_path / 'nowhere.json', *files, '--fraction', .1)
    twice = write(tmp_path / 'twice.json', images=[dict(id=i, file_name='a.jpg') for i in range(21)])
    assert 'but a.jpg is there twice' in hold_out(twice, *files, '--fraction', .1)
    assert not files[0].exists()
    assert 'held_out.json: 6 images, 2 to 4 of each category' in hold_out(source, *files, '--fraction', .4)


def test_only_the_classes_of_the_user_matter(hold_out, tmp_path):
    source, files = write(tmp_path / 'all.json'), (tmp_path / 'train.json', tmp_path / 'held_out.json')
    output = hold_out(source, *files, '--per-category', 4, '--classes', 'é 0', 'é 1')
    assert 'held_out.json: 8 images, 4 to 4 of each category' in output and 'No training image' not in output


@pytest.mark.parametrize('number, fraction, held_out', [(100, '0.29', 29), (90, '0.7', 63), (50, '1e-1', 5)])
def test_a_share_is_the_decimal_number_that_was_typed(hold_out, tmp_path, number, fraction, held_out):
    """In floats, 0.29 * 100 is less than 29."""
    files = tmp_path / 'train.json', tmp_path / 'held_out.json'
    hold_out(write(tmp_path / 'all.json', (number, )), *files, '--fraction', fraction)
    assert len(json.loads(files[1].read_text())['images']) == held_out
