"""The generation of shapes on the command line."""
import runpy

import pytest
from helpers.commands import ROOT
from helpers.data import read_files as read


def test_command_line_keeps_existing_files(tmp_path, monkeypatch, capsys):
    script = ROOT / 'tools' / 'dataset_converters' / 'make_shapes_lvis.py'
    monkeypatch.setattr('sys.argv', [str(script), str(tmp_path), '--num-train', '4', '--num-val', '4', '--num-classes',
                                     '4', '--imbalance-ratio', '5', '--image-size', '160'])
    runpy.run_path(str(script), run_name='__main__')
    printed = capsys.readouterr().out
    assert 'val: 4 of 4 images' in printed and 'Classes: 0 frequent' in printed
    before = read(tmp_path)
    with pytest.raises(SystemExit, match='exists and is not overwritten'):
        runpy.run_path(str(script), run_name='__main__')
    assert read(tmp_path) == before
