"""Output files: whole or not there, and never in the place of a file that must stay."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.commands import ROOT

from mmcausal import files
from mmcausal.analysis import FeatureStore
from mmcausal.files import WriteError, check_output, replacing, write_bytes, write_checkpoint, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end(tmp_path):
    file = tmp_path / 'new' / 'a.txt'
    with replacing(file) as new:
        new.write_text('first')
        assert not file.exists()
    with pytest.raises(ZeroDivisionError), replacing(file) as new:
        new.write_text('second')
        raise ZeroDivisionError
    assert file.read_text() == 'first' and names(file.parent) == ['a.txt']
    write_text(file, 'é\n')
    assert file.read_bytes() == 'é\n'.encode() and names(file.parent) == ['a.txt']
    write_bytes(file, b'')
    assert file.read_bytes() == b''


def test_a_folder_is_new_at_the_end_and_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / '.out.partial').mkdir()
    (tmp_path / '.out.partial' / 'old').touch()
    with replacing(tmp_path / 'out') as new:
        write_text(new / 'a', '1')
    assert names(tmp_path) == ['out'] and names(tmp_path / 'out') == ['a']
    (tmp_path / '.a.partial').write_text('half')
    write_text(tmp_path / 'a', 'whole')
    assert names(tmp_path) == ['a', 'out']
    with pytest.raises(KeyError), replacing(tmp_path / 'other') as new:
        new.mkdir()
        raise KeyError
    assert names(tmp_path) == ['a', 'out']


def test_a_link_stays(tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'elsewhere' / 'target')
    write_text(tmp_path / 'link', 'text')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'elsewhere' / 'target').read_text() == 'text'


def test_the_bytes_of_a_checkpoint_depend_on_its_content_alone(tmp_path):
    for name in ('a.pth', 'other name.pth'):
        write_checkpoint(tmp_path / name, dict(weight=torch.arange(3.)))
    assert (tmp_path / 'a.pth').read_bytes() == (tmp_path / 'other name.pth').read_bytes()
    assert torch.load(tmp_path / 'a.pth', weights_only=True)['weight'].tolist() == [0, 1, 2]


def spellings(file):
    """Yield other paths that lead to a file."""
    yield file
    yield file.parent / '..' / file.parent.name / file.name
    yield os.path.relpath(file)
    link, hard_link = file.with_name('link'), file.with_name('hard_link')
    link.symlink_to(file)
    os.link(file, hard_link)
    yield from (link, hard_link)


def test_inputs_are_never_outputs(tmp_path):
    source = tmp_path / 'a.json'
    source.write_text('[]')
    for path in spellings(source):
        with pytest.raises(ValueError, match='the output must be another file than the input .*a.json, but got'):
            check_output(path, [source], overwrite=True)
    missing = tmp_path / 'missing'
    with pytest.raises(ValueError, match='another file than the input'):
        check_output(tmp_path / '.' / 'x' / '..' / 'missing', [missing], overwrite=True)


def test_existing_files_are_replaced_if_asked_and_nothing_else_is(tmp_path):
    file = tmp_path / 'a.json'
    assert check_output(str(file)) == check_output(tmp_path / 'new' / 'folder' / 'a.json').parents[2] / 'a.json'
    file.touch()
    with pytest.raises(ValueError, match='a.json exists and is not overwritten; choose another file, or say --overwr'):
        check_output(file)
    assert check_output(file, overwrite=True) == file
    for path, words in ((tmp_path, 'the output must be a file, but .* is a folder'),
                        ('/dev/null', 'the output must be a file, but /dev/null is none'),
                        (file / 'b.json', 'b.json cannot be written, because .*a.json is not a folder')):
        with pytest.raises(ValueError, match=words):
            check_output(path, overwrite=True)


def test_read_only_folders_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, 'access', lambda path, mode: path != tmp_path)
    with pytest.raises(ValueError, match=f'x.json cannot be written, because {tmp_path} is read-only'):
        check_output(tmp_path / 'new' / 'x.json')


def no_space(file, offset, size):
    if size > 100:
        raise OSError(28, 'No space left on device')


@pytest.fixture(params=['posix_fallocate', 'size'])
def full_disk(request, monkeypatch):
    """A disk without space, on systems that can reserve it and on others."""
    if request.param == 'posix_fallocate':
        monkeypatch.setattr(files.os, 'posix_fallocate', no_space)
    else:
        monkeypatch.delattr(files.os, 'posix_fallocate')
        usage = files.shutil.disk_usage('/')
        monkeypatch.setattr(files.shutil, 'disk_usage', lambda path: usage._replace(free=100))


def test_a_full_disk_leaves_the_old_file(tmp_path, full_disk):
    file = tmp_path / 'a.bin'
    file.write_text('old')
    with pytest.raises(WriteError, match=r'a.bin cannot be written: it needs 4096 bytes, and \d+ are free \(No space'):
        write_bytes(file, bytes(4096))
    assert file.read_text() == 'old' and names(tmp_path) == ['a.bin']


def test_features_without_space_can_be_stored_later(tmp_path, full_disk, request):
    arguments = (tmp_path / 'store', dict(checkpoint='abc'), 100, 64)
    with pytest.raises(OSError, match=r'features.npy cannot be written: it needs 25728 bytes, and'):
        FeatureStore(*arguments)
    request.getfixturevalue('monkeypatch').undo()
    store = FeatureStore(*arguments)
    store.append(torch.ones(100, 64), torch.zeros(100))
    assert FeatureStore(*arguments).is_complete


def test_a_file_system_that_cannot_reserve_space_is_written_to(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr(files.os, 'posix_fallocate', unsupported)
    write_text(tmp_path / 'a', 'text')
    assert (tmp_path / 'a').read_text() == 'text'


LIMITED = '''
import resource, sys
import torch
from mmcausal.analysis import FeatureStore
for size in (100000, 1000000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        store = FeatureStore(sys.argv[1], dict(checkpoint='abc'), 1000, 64)
        store.append(torch.ones(1000, 64), torch.zeros(1000))
        print(store.is_complete)
    except OSError as error:
        print(error)
'''


def test_a_real_limit_is_an_error_and_no_signal(tmp_path):
    done = subprocess.run([sys.executable, '-c', LIMITED, str(tmp_path / 'store')], capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT)))
    refusal, is_complete = done.stdout.splitlines()[-2:]  # after lines of the hosts
    assert done.returncode == 0 and 'features.npy cannot be written: it needs 256128 bytes, and' in refusal
    assert is_complete == 'True' and FeatureStore(tmp_path / 'store', dict(checkpoint='abc'), 1000, 64).is_complete


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte, where the tests may mount one."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(disk)]
    if sys.platform != 'linux' or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip('needs the right to mount a file system')
    yield disk
    subprocess.run(['mount', '-o', 'remount,rw', str(disk)], check=True)
    subprocess.run(['umount', str(disk)], check=True)


def test_a_full_and_a_read_only_disk(small_disk):
    """With memory maps, a full disk used to end the process by a signal."""
    arguments = (dict(checkpoint='abc'), 1000, 512)
    with pytest.raises(WriteError, match=r'features.npy cannot be written: it needs 2048128 bytes, and 10\d+ are free'):
        FeatureStore(small_disk / 'store', *arguments)
    assert names(small_disk / 'store') == ['identity.json']
    with pytest.raises(WriteError, match='a.pth cannot be written: it needs .* bytes'):
        write_checkpoint(small_disk / 'a.pth', dict(weight=torch.zeros(10**6)))
    assert names(small_disk) == ['store']
    subprocess.run(['mount', '-o', 'remount,ro', str(small_disk)], check=True)
    with pytest.raises(ValueError, match=f'because {small_disk} is read-only'):
        check_output(small_disk / 'new' / 'a.json')
    with pytest.raises(WriteError, match='a.json cannot be written: Read-only file system'):
        write_text(Path(small_disk) / 'a.json', '{}')
