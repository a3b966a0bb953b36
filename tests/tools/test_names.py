"""Tools and scripts in folders with any name, with classes of any name, on terminals that lack their characters."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import ROOT, free_port
from helpers.names import LOCALES, NAMES
from PIL import Image

CLASSES = ('$$', '_hidden', '</script>', '{}%s', 'two\nlines', '猫と犬', '😀 🫠', 'a|b', 'crème brûlée', 'שלום')
CONFIG = f'''
_base_ = {str(ROOT / 'configs/digits_lt/deconfound-tde_small_ir100.py')!r}
train_dataloader = dict(dataset=dict(metainfo=dict(classes={CLASSES!r})))
val_dataloader = test_dataloader = train_dataloader
train_cfg = dict(max_epochs=1, val_interval=1)
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.PicturesHook', many=30, few=5)]
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
'''
pytestmark = pytest.mark.skipif(os.name == 'nt', reason='folders and locales of POSIX')
ASCII, GBK = LOCALES


def run(folder, *command, status=0, encoding='utf-8', **environment):
    """Return what a command prints in a folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    environment = dict(os.environ, PATH=path, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT), **environment)
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    output = done.stdout.decode(encoding)
    assert done.returncode == status and 'Logging error' not in output, output[-3000:]
    return output


def tool(folder, name, *arguments, **environment):
    return run(folder, sys.executable, ROOT / 'tools' / name, *arguments, **environment)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a config and the work directory of its training, on a Chinese terminal in a C locale."""
    folder = tmp_path_factory.mktemp('names') / 'my 猫 & $5 <100 %> {work}_dir'
    folder.mkdir()
    (folder / '名 config.py').write_text(CONFIG, encoding='utf-8')
    output = tool(folder, 'train.py', '名 config.py', '--work-dir', 'wörk dir', encoding='gbk', **GBK)
    assert '猫と犬' in output and '\\U0001f600' in output
    return folder


def test_a_training_writes_logs_and_plots(trained):
    log = next(trained.glob('wörk dir/*/*.log')).read_text(encoding='utf-8')
    lines = log[log.index('class  '):].splitlines()
    assert [line.split('  ')[0] for line in lines[1:11]] == [name.replace('\n', ' ') for name in CLASSES]
    assert len(list(trained.glob('wörk dir/*/vis_data/vis_image/*.png'))) == 8


def test_the_report_of_the_work_directory(trained):
    output = tool(trained, 'analysis/report.py', 'wörk dir', encoding='ascii', **ASCII)
    assert 'Report: w\\xf6rk dir/report.html' in output
    page = (trained / 'wörk dir' / 'report.html').read_text(encoding='utf-8')
    assert '<title>名 config</title>' in page and page.count('</script>') == 1


def test_sweep_and_demo(trained):
    sweep = tool(trained, 'analysis/sweep_alpha.py', '名 config.py', 'wörk dir/epoch_1.pth', '--alphas', '0', '1',
                 '--out', 'söme where/猫.json', encoding='gbk', **GBK)
    assert 'Plot: s\\xf6me where/猫_deconfound.png' in sweep
    assert (trained / 'söme where' / '猫.json').is_file()
    Image.new('L', (8, 8), 99).save(trained / '画 像.png')
    demo = tool(trained, 'demo.py', '画 像.png', '名 config.py', 'wörk dir/epoch_1.pth', '--out', 'démo 猫.png',
                encoding='ascii', **ASCII)
    shown = [name for name in ('$$', '_hidden', '</script>', '{}%s', 'two lines', 'a|b') if f' %  {name}' in demo]
    assert shown  # the five most probable of ten classes, of which four need other characters
    assert 'Plot: d\\xe9mo \\u732b.png' in demo and (trained / 'démo 猫.png').is_file()


def test_scripts_in_a_clone_and_folder_with_spaces(trained, tmp_path):
    """A training on two ranks and a test, by the scripts, through a link to the clone."""
    clone = tmp_path / 'my clone $HOME & more'
    clone.symlink_to(ROOT)
    port = free_port()
    run(trained, 'bash', clone / 'tools' / 'dist_train.sh', '名 config.py', '1', '--work-dir', 'two  spaces', PORT=port)
    output = run(trained, 'bash', clone / 'tools' / 'dist_test.sh', '名 config.py', 'two  spaces/epoch_1.pth', '1',
                 '--work-dir', 'two  spaces', PORT=port)
    assert 'shot/overall' in output


@pytest.mark.parametrize('script, arguments', [
    ('slurm_train.sh', ['my config.py', 'work dir', '--resume']),
    ('slurm_test.sh', ['my config.py', 'my check point.pth', '--work-dir', 'work dir'])])
def test_slurm_scripts_keep_words_together(tmp_path, script, arguments):
    srun = tmp_path / 'bin with spaces' / 'srun'
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\nprintf "<%s>\\n" "$@"\n')
    srun.chmod(0o755)
    clone = tmp_path / 'my clone'
    clone.symlink_to(ROOT)
    done = subprocess.run(['bash', str(clone / 'tools' / script), 'my partition', 'my job', *arguments],
                          env=dict(os.environ, PATH=f'{srun.parent}:{os.environ["PATH"]}'), capture_output=True,
                          text=True, check=True)
    words = done.stdout.splitlines()
    assert {'<my partition>', '<--job-name=my job>', '<my config.py>'} < set(words)
    assert f'<{clone / "tools" / script.replace("slurm_", "").replace(".sh", ".py")}>' in words
    assert any('<my check point.pth>' in word or '<--work-dir=work dir>' in word for word in words)


def test_set_up_takes_an_interpreter_with_spaces(tmp_path):
    """An interpreter that only tells its version: the set-up chooses it, and stops where it should make .venv."""
    python = tmp_path / 'my pythons' / 'python'
    python.parent.mkdir()
    python.write_text('#!/bin/sh\ncase "$*" in *version_info*) echo 3.11 ;; *) exit 1 ;; esac\n')
    python.chmod(0o755)
    shutil.copytree(ROOT / 'requirements', tmp_path / 'my clone' / 'requirements')
    (tmp_path / 'my clone' / 'tools').mkdir()
    shutil.copy(ROOT / 'tools' / 'setup_env.sh', tmp_path / 'my clone' / 'tools')
    output = run(tmp_path, 'bash', 'my clone/tools/setup_env.sh', status=1, PYTHON=str(python), MMCAUSAL_VENV='my venv')
    assert f'{python} cannot make a virtual environment' in output


def test_lists_of_files_of_any_name(tmp_path):
    """As check_images reads them: a list with a byte order mark, and files that are missing."""
    names = [name for name in NAMES if name.strip() and name.isprintable() and '/' not in name]
    (tmp_path / '猫 list.txt').write_text('\ufeff' + ''.join(f'{name}.jpg 0\n' for name in names), encoding='utf-8')
    split = dict(type='mmcausal.ImageList', ann_file='猫 list.txt', data_root=str(tmp_path), num_classes=1)
    (tmp_path / 'config.py').write_text(f'test_dataloader = dict(dataset={split!r})\ntrain_dataloader = None\n'
                                        "val_dataloader = None\ndefault_scope = 'mmpretrain'\n", encoding='utf-8')
    Image.new('L', (8, 8)).save(tmp_path / f'{names[0]}.jpg')
    output = tool(tmp_path, 'dataset_converters/check_images.py', 'config.py', '--show', '99', '--out', '猫.txt',
                  status=1, encoding='gbk', **GBK)
    assert f'{len(names) - 1} unreadable' in output and f'{tmp_path}/猫と犬.jpg: No such file' in output
    missing = (tmp_path / '猫.txt').read_text(encoding='utf-8').splitlines()
    assert missing == [f'{tmp_path}/{name}.jpg'.replace(f'{tmp_path}/ ', f'{tmp_path}/') for name in names[1:]]
