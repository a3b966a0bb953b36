"""The check of image lists and of their images."""
import runpy
import sys

import pytest
from helpers.commands import DIGITS, IMAGENET_LT, ROOT
from helpers.data import imagenet_lt_options
from PIL import Image


@pytest.fixture()
def check_images(imagenet_lt, tmp_path, monkeypatch, capsys):
    """Run the tool in this process, on copies of the lists, which a test may change, and links to the images."""
    for entry in imagenet_lt.iterdir():
        if entry.is_dir():
            (tmp_path / entry.name).symlink_to(entry)
        else:
            (tmp_path / entry.name).write_text(entry.read_text())

    def check(*changes, config=IMAGENET_LT):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, 'argv', ['check_images.py', config, '--out', str(tmp_path / 'unreadable.txt'),
                                          *imagenet_lt_options(tmp_path), *changes])
        with pytest.raises(SystemExit) as status:
            runpy.run_path('tools/dataset_converters/check_images.py', run_name='__main__')
        return status.value.code, capsys.readouterr().out

    return check


def test_whole_images_of_right_lists_pass_the_check(check_images, tmp_path):
    status, output = check_images()
    assert status == 0 and output.count('\n  0 unreadable') == 3
    assert (tmp_path / 'unreadable.txt').read_text() == ''


def test_missing_empty_and_cut_images_are_named(check_images, tmp_path):
    (tmp_path / 'other').mkdir()
    Image.new('RGB', (90, 90), 'red').save(tmp_path / 'other/whole.JPEG')
    whole = (tmp_path / 'other/whole.JPEG').read_bytes()
    (tmp_path / 'other/trailer.JPEG').write_bytes(whole + b'camera')
    (tmp_path / 'other/film.JPEG').write_bytes(whole + bytes(50_000))
    thumbnail = b'\xff\xe1' + (2 + len(whole)).to_bytes(2, 'big') + whole  # as in EXIF
    (tmp_path / 'other/film2.JPEG').write_bytes(whole[:2] + thumbnail + whole[2:] + bytes(50_000))
    (tmp_path / 'other/cut.JPEG').write_bytes(whole[:len(whole) // 2])
    (tmp_path / 'other/cut2.JPEG').write_bytes(whole[:2] + thumbnail + whole[2:len(whole) - 20] + bytes(50_000))
    (tmp_path / 'other/empty.JPEG').write_bytes(b'')
    (tmp_path / 'other/page.JPEG').write_text('<html>404: not found</html>' * 9)
    with open(tmp_path / 'ImageNet_LT_val.txt', 'a') as file:
        file.write(''.join(f'other/{name}.JPEG 7\n' for name in (
            'whole', 'trailer', 'film', 'film2', 'cut', 'cut2', 'empty', 'gone', 'page')))
    status, output = check_images()
    assert status == 1 and '\n  5 unreadable' in output and output.count('\n  0 unreadable') == 2
    unreadable = (tmp_path / 'unreadable.txt').read_text().splitlines()
    assert unreadable == [f'{tmp_path}/other/{name}.JPEG' for name in ('cut', 'cut2', 'empty', 'gone', 'page')]
    for path, fault in zip(unreadable, ('truncated', 'truncated', 'empty', 'No such file',
                                       'not an image that OpenCV can read')):
        assert f'{path}: {fault}' in output


def test_every_split_is_looked_at_where_lists_are_wrong(check_images, tmp_path):
    (tmp_path / 'ImageNet_LT_val.txt').unlink()
    status, output = check_images('train_dataloader.dataset.num_images=7', f'test_dataloader.dataset.md5={"a" * 32}')
    assert status == 1 and 'train: ' in output and 'ImageNet_LT_train.txt must have 7 images, but got ' in output
    assert 'val: the list of images ' in output and 'ImageNet_LT_val.txt is missing' in output
    assert 'test: ' in output and 'ImageNet_LT_test.txt must have the md5 sum aaaa' in output
    assert output.count('its images were not checked') == 3


def test_the_check_is_for_lists_of_images(check_images):
    words = 'the train split must be an ImageList or ImageFolder, but is a mmcausal.LongTailedDigits'
    assert check_images(config=DIGITS)[0] == words
