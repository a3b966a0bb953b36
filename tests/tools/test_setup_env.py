"""The set-up script with an interpreter that installs nothing, but records what it was asked for."""
import os
import shutil
import subprocess
import sys

import pytest
from helpers.commands import ROOT

PROGRAMS = ('bash', 'cat', 'cksum', 'cp', 'cut', 'dirname', 'grep', 'mkdir', 'rm')
pytestmark = pytest.mark.skipif(os.name == 'nt', reason='a shell script')

# Answers the script's questions from variables; -m venv copies it. FAKE_WHEEL: who has a wheel of mmcv, pip or page.
PYTHON = r'''#!/usr/bin/env bash
case "$*" in
    *version_info*) echo "$FAKE_VERSION" ;;
    *sys.prefix*) dirname "$(dirname "$0")" ;;
    *urllib*) [ -n "$FAKE_ONLINE" ] ;;
    *get_mmcv_full_find_link*) echo https://wheels/page ;;
    *'import mmcv.ops'*) grep -q -e "--only-binary.*$FAKE_WHEEL" -e --verbose "$FAKE_LOG" ;;
    *'import mmcv'*) exit 1 ;;
    *'import torch'*) [ -n "$FAKE_TORCH" ] ;;
    *disk_usage*) "$REAL_PYTHON" -c "import os, shutil, types
shutil.disk_usage = lambda folder: types.SimpleNamespace(free=float(os.environ['FAKE_FREE']) * 2**30)
$2" "$3" ;;
    '-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    '-m pip '*) shift 2; echo "pip $*" >> "$FAKE_LOG"; echo 'Successfully installed' ;;
    '- '*) cat >/dev/null; echo "$FAKE_PACKAGES" ;;
    -) cat >/dev/null ;;
    *) echo "not asked before: $*" >&2; exit 1 ;;
esac
'''


@pytest.fixture
def set_up(tmp_path):
    """Return a function that runs the script in a copy of the repository, for its status, output and pip commands."""
    clone, commands = tmp_path / 'clone', tmp_path / 'bin'
    shutil.copytree(ROOT / 'requirements', clone / 'requirements')
    (clone / 'tools').mkdir()
    for name in ('tools/setup_env.sh', 'setup.cfg', 'pyproject.toml'):
        shutil.copy(ROOT / name, clone / name)
    commands.mkdir()
    for name in PROGRAMS:  # no other Python is on the path
        (commands / name).symlink_to(shutil.which(name))

    def run(*arguments, version='3.11', online='', packages='', wheel='nobody', gpu=False, has_torch='', free=9):
        shutil.rmtree(clone / '.venv', ignore_errors=True)
        programs = {'python3': PYTHON, 'uname': '#!/bin/sh\necho Linux\n', 'c++': '#!/bin/sh\n'}
        if gpu:
            programs['nvidia-smi'] = '#!/bin/sh\n'
        for name, text in programs.items():
            (commands / name).write_text(text, encoding='utf-8')
            (commands / name).chmod(0o755)
        log = tmp_path / 'log'
        log.write_text('', encoding='utf-8')
        environment = dict(os.environ, FAKE_VERSION=version, FAKE_ONLINE=online, FAKE_PACKAGES=packages,
                           FAKE_WHEEL=wheel, FAKE_LOG=str(log), PATH=str(commands), FAKE_TORCH=has_torch,
                           FAKE_FREE=str(free), REAL_PYTHON=sys.executable, TMPDIR=str(tmp_path))
        for name in ('PYTHON', 'MMCAUSAL_VENV', 'MMCV_BASE_URL', 'TORCH_CPU_INDEX'):
            environment.pop(name, None)
        done = subprocess.run([str(commands / 'bash'), 'tools/setup_env.sh', *arguments], cwd=clone, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout, log.read_text(encoding='utf-8').splitlines()
    return run


@pytest.mark.parametrize('version, stack', [('3.8', 'classic'), ('3.9', 'classic'), ('3.10', 'classic'),
                                            ('3.11', 'classic'), ('3.12', 'modern'), ('3.13', 'modern')])
def test_the_stack_follows_the_python(set_up, version, stack):
    status, output, commands = set_up(version=version)
    assert status == 0 and f'mmcausal, {stack} stack' in output, output
    assert any('mmengine' in command and f'requirements/{stack}.txt' in command for command in commands)
    assert ('onedl-mmengine' in ' '.join(commands)) == (stack == 'modern')
    # With its dependencies, it would bring the classic mmengine.
    assert any('--no-deps' in command and command.endswith('mmcv-lite') for command in commands)


@pytest.mark.parametrize('arguments, version, words', [
    ([], '3.7', 'needs Python 3.8 to 3.13, but python3 is 3.7'),
    ([], '3.14', 'needs Python 3.8 to 3.13, but python3 is 3.14'),
    (['classic'], '3.12', 'the classic stack needs Python 3.8 to 3.11, but python3 is 3.12'),
    (['modern'], '3.9', 'the modern stack needs Python 3.10 to 3.13, but python3 is 3.9'),
    (['clasic'], '3.11', "unknown argument 'clasic'; usage:")])
def test_what_does_not_fit_is_named(set_up, arguments, version, words):
    status, output, commands = set_up(*arguments, version=version)
    assert status == 1 and words in output and not commands


@pytest.mark.parametrize('version, other', [('3.11', 'onedl-mmengine'), ('3.13', 'mmengine mmcv')])
def test_packages_of_the_other_stack_stay_and_are_named(set_up, version, other):
    status, output, commands = set_up(version=version, packages=other)
    assert status == 1 and output.rstrip().endswith(f'-m pip uninstall {other}') and not commands


@pytest.mark.parametrize('machine, is_cpu_build', [
    (dict(online='yes'), True), (dict(online=''), False), (dict(online='yes', gpu=True), False)])
def test_pytorch_without_cuda_where_cuda_is_of_no_use(set_up, machine, is_cpu_build):
    status, output, commands = set_up(**machine)
    assert status == 0, output
    torch = next(command for command in commands if ' torch ' in command)
    assert ('--extra-index-url https://download.pytorch.org/whl/cpu ' in torch) == is_cpu_build


def test_a_disk_too_small_for_pytorch_is_named_before_the_download(set_up):
    status, output, _ = set_up(free=8.9)
    assert status == 0 and 'has 8.9 GB free of 9. If that fails, free some' in output  # one disk for both
    assert output.index('8.9 GB') < output.index('MMEngine and MMPretrain')


@pytest.mark.parametrize('machine', [dict(free=9), dict(free=1, online='yes'), dict(free=1, has_torch='yes')])
def test_nothing_is_said_of_a_disk_with_room_or_without_a_download_of_cuda(set_up, machine):
    status, output, _ = set_up(**machine)
    assert status == 0 and 'GB free' not in output


@pytest.mark.parametrize('machine, installs, is_compiled', [
    (dict(wheel='mmcv'), 1, False),  # pip's own index or PIP_FIND_LINKS
    (dict(wheel='https://wheels/page', online='yes'), 2, False),
    (dict(online='yes'), 2, True),
    (dict(online=''), 1, True)])
def test_mmcv_is_compiled_only_where_no_index_has_it(set_up, machine, installs, is_compiled):
    status, output, commands = set_up('all', **machine)
    assert status == 0, output
    assert sum('--only-binary mmcv' in command for command in commands) == installs
    assert ('compiling it' in output) == any('--no-build-isolation --no-deps --force-reinstall' in command
                                             for command in commands) == is_compiled
