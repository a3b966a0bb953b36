"""Outputs of all tools and benchmarks: none replaces a file unasked, or its own input, and none is left half."""
import ast
import json
import os
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers.commands import BASELINE, DIGITS, ROOT
from helpers.data import write_image
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal import files
from mmcausal.functional import NORMALIZERS
from mmcausal.registry import MODELS
from mmcausal.visualization import PICTURES

ANALYSIS, CONVERTERS = 'tools/analysis', 'tools/dataset_converters'
# Arguments of each program, and the files that it would write; the inputs are files of any content
CASES = {
    f'{ANALYSIS}/estimate_direction.py': ('in.py in.pth o.pth', ['o.pth']),
    f'{ANALYSIS}/pictures.py': ('in.py in.pth --out-dir o', [f'o/{name}.png' for name in PICTURES]),
    f'{ANALYSIS}/report.py': ('run --config in.py --checkpoint in.pth --out o.html', ['o.html']),
    f'{ANALYSIS}/sweep_alpha.py': ('in.py in.pth --out o.json --write-config o.py',
                                   ['o.json', 'o.py', *(f'o_{name}.png' for name in NORMALIZERS)]),
    f'{ANALYSIS}/sweep_detector_alpha.py': ('in.py in.pth --out o.json --write-config o.py',
                                            ['o.json', 'o.png', 'o.py']),
    'tools/compare_methods.py': ('in.py --out o.json', ['o.json', 'o.md']),
    f'{CONVERTERS}/check_images.py': ('in.py --out o.txt', ['o.txt']),
    f'{CONVERTERS}/folder_lists.py': ('folder o', [f'o/{name}.txt' for name in ('train', 'val', 'test', 'classes')]),
    f'{CONVERTERS}/hold_out_coco.py': ('in.json o.json o2.json --per-category 1', ['o.json', 'o2.json']),
    f'{CONVERTERS}/inat_lists.py': ('in.json o.txt', ['o.txt']),
    'tools/demo.py': ('in.png in.py in.pth --out o.png', ['o.png']),
    'tools/deployment/export_onnx.py': ('in.py in.pth o.onnx --image-size 8 8', ['o.onnx']),
    'benchmarks/augmentation.py': ('--out o.json', ['o.json']),
    'benchmarks/choose_corrections.py': ('in.py in.pth in2.py in2.pth --out o.json', ['o.json']),
    'benchmarks/detection_inference.py': ('--checkpoint in.pth --out o.json', ['o.json']),
    'benchmarks/gpu.py': ('--out o.json', ['o.json']),
    'benchmarks/kills.py': ('--out o.json', ['o.json']),
    'benchmarks/layer_speed.py': ('--out o.json', ['o.json']),
    'benchmarks/lvis_evaluation.py': ('--out o.json', ['o.json']),
    'benchmarks/mask_inference.py': ('--config in.py --out o.json', ['o.json']),
    'benchmarks/momentum_ablation.py': ('--out o.json', ['o.json']),
    'benchmarks/network_bounds.py': ('--config in.py --out o.json', ['o.json']),
    'benchmarks/optimizers.py': ('--out o.json', ['o.json']),
    'benchmarks/overfit_table.py': ('in.json folder --out o.json', ['o.json']),
    'benchmarks/own_coco.py': ('in.json folder --out o.json', ['o.json']),
    'benchmarks/own_folder.py': ('folder --out o.json', ['o.json']),
    'benchmarks/ranks.py': ('--out o.json', ['o.json']),
    'benchmarks/run_guide.py': ('in.md --sections x --out o.json', ['o.json']),
    'benchmarks/shapes_table.py': ('--out o.json', ['o.json']),
    'benchmarks/soak.py': ('in.py --work-dir new --out o.json', ['o.json']),
    'benchmarks/sweep_against_tests.py': ('in.py in.pth --out o.json', ['o.json']),
    'benchmarks/whole_steps.py': ('--out o.json', ['o.json']),
    'benchmarks/training_throughput.py': ('--config in.py --out o.json', ['o.json']),
}
OTHERS = {
    'benchmarks/mutants.py': 'adds to the file of its own results',
    'tools/publish_checkpoint.py': 'its file has the hash of the content in its name; tested below',
    f'{CONVERTERS}/digits_folder.py': 'writes a folder that must be new; test_own_data_tools.py',
    f'{CONVERTERS}/make_shapes_lvis.py': 'writes folders that must be new; test_make_shapes_lvis.py',
}
OUTPUT_NAME = re.compile(r'(^|_)(out|output|write|save|dump|export|report|result)s?(_|$)')
OUTPUT_HELP = re.compile(r'\b(new|file for|folder for|written|JSON file)\b')
PROGRAMS = sorted(path.relative_to(ROOT).as_posix() for folder in ('tools', 'benchmarks')
                  for path in (ROOT / folder).rglob('*.py'))


def calls_in(path):
    """Yield all calls in a program, with the names of their functions or methods."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call):
            yield getattr(node.func, 'attr', getattr(node.func, 'id', '')), node


def output_options(path):
    """Yield the options of a program that name an output, but for folders that a run goes on in."""
    for call in (node for called, node in calls_in(path) if called == 'add_argument'):
        name = call.args[0].value.lstrip('-').replace('-', '_')
        keywords = {keyword.arg: list(ast.walk(keyword.value)) for keyword in call.keywords}
        help_text = ' '.join(str(getattr(part, 'value', '')) for part in keywords.get('help', []))
        is_path = {getattr(part, 'id', '') for part in keywords.get('type', [])} & {'Path', 'config_name_argument'}
        if is_path and name != 'work_dir' and (OUTPUT_NAME.search(name) or OUTPUT_HELP.search(help_text)):
            yield name


# Modules with the outputs of several programs, and the functions that add them
SHARED = {f'{ANALYSIS}/arguments.py': ('add_sweep_arguments', ['out', 'write_config']),
          'benchmarks/measurement.py': ('measurement_parser', ['out'])}


def test_every_program_with_an_output_has_a_case():
    sharing = {name for name, _ in SHARED.values()}
    found = {path for path in PROGRAMS if any(output_options(path)) or sharing & {*dict(calls_in(path))}}
    assert found - {*SHARED} == {*CASES, *OTHERS}
    assert all(list(output_options(path)) == names for path, (_, names) in SHARED.items())
    checks = {'check_outputs', 'measurement_arguments'}  # the second calls the first
    assert 'check_outputs' in dict(calls_in('benchmarks/measurement.py'))
    assert all(checks & {*dict(calls_in(path))} for path in CASES)


# What writes a file by itself, where mmcausal/files.py would write it whole or not at all
WRITERS = ('write_text', 'write_bytes', 'savefig', 'save', 'savez', 'dump', 'imwrite', 'tofile')


def direct_writes(path):
    """Yield the lines of a program that write a file that is not in memory, without the helpers."""
    source = (ROOT / path).read_text(encoding='utf-8')
    tree = ast.parse(source)
    safe = {id(child) for node in ast.walk(tree) if isinstance(node, ast.With)
            and any('replacing(' in ast.get_source_segment(source, item.context_expr) for item in node.items)
            for child in ast.walk(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in safe:
            continue
        method, is_open = getattr(node.func, 'attr', ''), getattr(node.func, 'id', '') == 'open'
        if method in (*WRITERS, 'open') or is_open:
            text = ast.get_source_segment(source, node)
            in_memory = re.search('buffer|yaml|file_format', text)
            opens = re.search(r"open\(.*'[wx]b?\+?'", text)
            if opens or (method in WRITERS and not in_memory):
                yield f'{path}:{node.lineno}'


def test_nothing_is_written_without_the_helpers():
    library = [path.relative_to(ROOT).as_posix() for path in (ROOT / 'mmcausal').rglob('*.py')
               if '.mim' not in path.parts and path.name != 'files.py']
    assert [line for path in [*library, *PROGRAMS] for line in direct_writes(path)] == []


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """A function that runs a program in this process, in a folder of its own, and returns its status and output."""
    monkeypatch.chdir(tmp_path)
    for name in ('in.py', 'in.pth', 'in2.py', 'in2.pth', 'in.json', 'in.png', 'in.md'):
        (tmp_path / name).write_text('input')
    for name in ('folder', 'run'):
        (tmp_path / name).mkdir()

    def run(path, *arguments):
        monkeypatch.syspath_prepend(str((ROOT / path).parent))
        monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(ROOT / path), run_name='__main__')
        except SystemExit as error:
            status = error.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err + f'{status}'

    return run


@pytest.mark.parametrize('path', CASES)
def test_an_existing_file_stays(path, call, tmp_path):
    arguments, outputs = CASES[path]
    for output in outputs:
        file = tmp_path / output
        file.parent.mkdir(exist_ok=True)
        file.write_text('mine')
        before = sorted(tmp_path.rglob('*'))
        status, printed = call(path, *arguments.split())
        assert status == 2 and f'{output} exists and is not overwritten' in printed and '--overwrite' in printed
        assert 'Traceback' not in printed and file.read_text() == 'mine' and sorted(tmp_path.rglob('*')) == before
        file.unlink()


def spellings(name, link):
    """Yield paths that lead to a file."""
    yield name
    yield f'./folder/../{name}'
    for make in (os.symlink, os.link):
        make(name, link)
        yield link.name
        link.unlink()


@pytest.mark.parametrize('path', CASES)
def test_an_input_stays_whatever_is_said(path, call, tmp_path):
    words = CASES[path][0].split()
    inputs = [word for word in words if word.startswith('in')]
    given = [word for word in words if re.match(r'o2?\.', word)]
    for name in inputs:
        for output in (word for word in given if not word.endswith('.py') or name.endswith('.py')):
            for spelling in spellings(name, tmp_path / f'link{Path(output).suffix}'):
                status, printed = call(path, *(spelling if word == output else word for word in words), '--overwrite')
                assert status == 2 and f'must be another file than the input {name}' in printed
                assert (tmp_path / name).read_text() == 'input'
    for output in given:
        status, printed = call(path, *('folder' if word == output else word for word in words), '--overwrite')
        assert status == 2 and ('must be a file, but folder is a folder' in printed or 'must end in .py' in printed)
    if given:
        status, printed = call(path, *(f'in.json/{word}' if word == given[0] else word for word in words))
        assert status == 2 and 'in.json is not a folder' in printed


@pytest.fixture
def inputs(tmp_path):
    """Real inputs of the programs below: annotations, images and checkpoints of digits."""
    (tmp_path / 'inat.json').write_text(json.dumps(dict(
        images=[dict(id=7, file_name='a/x.jpg')], annotations=[dict(image_id=7, category_id=2)])))
    (tmp_path / 'coco.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.jpg') for i in range(4)], categories=[dict(id=0, name='a')],
        annotations=[dict(id=i, image_id=i, category_id=0, bbox=[0, 0, 5, 5], area=25) for i in range(4)])))
    for split, seed in (('train', 0), ('val', 10), ('test', 20)):
        for number in range(3):
            for name, step in (('cat', 0), ('dog', 100)):
                write_image(tmp_path / 'photos' / split / name / f'{number}.png', seed + number + step, size=8)
    (tmp_path / 'photos.py').write_text(
        "_base_ = __import__('mmcausal').config_path('own_data/linear_r32.py')\n"
        'train_dataloader = val_dataloader = test_dataloader = '
        f"dict(dataset=dict(data_root={str(tmp_path / 'photos')!r}))\n")
    write_image(tmp_path / 'image.png', size=8)
    cfg = Config.fromfile(ROOT / DIGITS)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.head.fc.mean_feature.fill_(1.)
    model.head.fc.mean_cosine.fill_(.5)
    model.head.fc.num_updates.fill_(5)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'digits.pth')
    cfg = Config.fromfile(ROOT / BASELINE)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'linear.pth')


TRAINED = f'{ROOT / DIGITS} digits.pth'
REAL = {
    f'{CONVERTERS}/inat_lists.py': ('inat.json o.txt', ['o.txt']),
    f'{CONVERTERS}/hold_out_coco.py': ('coco.json o.json o2.json --per-category 1', ['o.json', 'o2.json']),
    f'{CONVERTERS}/folder_lists.py': ('photos/train o', ['o/train.txt', 'o/classes.txt']),
    f'{CONVERTERS}/check_images.py': ('photos.py --out o.txt', ['o.txt']),
    'tools/publish_checkpoint.py': ('digits.pth name --out-dir o', ['o/name-*.pth']),
    'tools/deployment/export_onnx.py': (f'{TRAINED} o.onnx --image-size 8 8 --channels 1', ['o.onnx']),
    f'{ANALYSIS}/estimate_direction.py': (f'{ROOT / BASELINE} linear.pth o.pth', ['o.pth']),
    f'{ANALYSIS}/sweep_alpha.py': (f'{TRAINED} --alphas 0 1 --features store --out o.json --write-config o.py',
                                   ['o.json', 'o.py', 'o_*.png']),
    f'{ANALYSIS}/pictures.py': (f'{TRAINED} --features store --out-dir o', ['o/confusion.png', 'o/grad_cam.png']),
    f'{ANALYSIS}/report.py': ('run --config {} --checkpoint {} --features store --out o.html'.format(*TRAINED.split()),
                              ['o.html']),
    'tools/demo.py': (f'image.png {TRAINED} --out o.png', ['o.png']),
}


@pytest.mark.parametrize('path', REAL)
def test_a_file_is_replaced_if_asked_and_stays_if_that_fails(path, call, inputs, tmp_path, monkeypatch):
    arguments, outputs = REAL[path]
    status, printed = call(path, *arguments.split())
    assert status == 0, printed
    written = [file for output in outputs for file in tmp_path.glob(output)]
    assert len(written) == len(outputs)
    for file in written:
        file.write_text('mine')
    status, printed = call(path, *arguments.split())
    assert status != 0 and 'exists and is not overwritten' in printed

    for failing in written:
        def fill(file, failing=failing):
            if file.name == f'.{failing.name}.partial':
                raise OSError(28, 'No space left on device')

        failing.write_text('mine')  # others may have been replaced by now
        with monkeypatch.context() as context:
            context.setattr(files, '_flush', fill)
            status, printed = call(path, *arguments.split(), '--overwrite')
        assert f'{failing.name} cannot be written: No space left on device' in status  # no traceback
        assert failing.read_bytes() == b'mine' and not list(tmp_path.rglob('*.partial'))

    status, printed = call(path, *arguments.split(), '--overwrite')
    assert status == 0 and all(file.read_bytes() != b'mine' for file in written)
