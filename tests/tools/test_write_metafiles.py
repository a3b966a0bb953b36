"""The script that writes the metafiles of the configs."""
import shutil
import subprocess
import sys

import yaml
from helpers.commands import ROOT


def run_script(root, *arguments):
    command = [sys.executable, 'tools/write_metafiles.py', *arguments]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_script_updates_entries_and_keeps_everything_else(tmp_path):
    for folder in ('configs/_base_', 'configs/digits_lt'):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / 'tools').mkdir()
    shutil.copy(ROOT / 'tools' / 'write_metafiles.py', tmp_path / 'tools')
    folder = tmp_path / 'configs' / 'digits_lt'
    metafile = folder / 'metafile.yml'
    (folder / 'deconfound_small_ir100.py').rename(folder / 'cosine_small_ir100.py')
    content = yaml.safe_load(metafile.read_text())
    tde, _, linear = content['Models']
    tde.update(Results=[dict(Task='Image Classification')], Metadata=dict(Epochs=60))
    metafile.write_text(yaml.dump(dict(content, Collections=[dict(Name='De-confound-TDE')])))

    before = metafile.read_text()
    done = run_script(tmp_path, '--check')
    assert done.returncode == 1 and metafile.read_text() == before
    assert done.stdout.splitlines()[-2:] == ['model-index.yml', 'configs/digits_lt/metafile.yml']
    assert run_script(tmp_path).returncode == 0
    cosine = {'Name': 'cosine_small_ir100_digits_lt', 'In Collection': 'De-confound-TDE',
              'Config': 'configs/digits_lt/cosine_small_ir100.py', 'Metadata': linear['Metadata']}
    tde['Metadata'].update(linear['Metadata'])
    assert yaml.safe_load(metafile.read_text()) == dict(
        Collections=[dict(Name='De-confound-TDE')], Models=[cosine, tde, linear])
    index = yaml.safe_load((tmp_path / 'model-index.yml').read_text())
    assert index == dict(Import=['configs/digits_lt/metafile.yml'])
    assert run_script(tmp_path, '--check').returncode == 0
