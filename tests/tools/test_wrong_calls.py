"""Wrong calls of every tool end with a sentence that names the value and the demand."""
import importlib
import json
import sysconfig

import pytest
from helpers.commands import ROOT, run
from helpers.in_process import call, check_refusal, refusals
from helpers.wrong_files import write_wrong_files, write_wrong_stores
from mmengine.config import Config

PUBLISH = '''
publish_checkpoint.py | the following arguments are required: checkpoint, name
publish_checkpoint.py nowhere.pth n | no such checkpoint: nowhere.pth
publish_checkpoint.py folder.pth n | no such checkpoint: folder.pth
publish_checkpoint.py empty.pth n | empty.pth must be a checkpoint, but is empty
publish_checkpoint.py truncated.pth n | truncated.pth must be a checkpoint, but is truncated
publish_checkpoint.py flipped.pth n | flipped.pth must be a checkpoint, but is damaged: good/data/
publish_checkpoint.py garbage.pth n | garbage.pth must be a checkpoint, but cannot be read as one
publish_checkpoint.py tar.pth n | tar.pth must be a checkpoint, but is a tar archive
publish_checkpoint.py config.py n | config.py must be a checkpoint, but cannot be read as one
publish_checkpoint.py list.pth n | list.pth must be a checkpoint, but holds a list and no weights
publish_checkpoint.py no_weights.pth n | but holds a dict with ['epoch'] and no weights
publish_checkpoint.py evil.pth n | .mkdir, which could run code. If you trust it, keep its weights alone
publish_checkpoint.py pickle.pth n | pickle.pth is not loaded, because it holds a
publish_checkpoint.py program.pth n | program.pth must be a checkpoint, but is a TorchScript program
publish_checkpoint.py good.pth n --out-dir file | file
'''
ANNOTATIONS = '''
dataset_converters/hold_out_coco.py coco.json a b | one of the arguments --per-category --fraction is required
dataset_converters/hold_out_coco.py nowhere.json a b --per-category 1 | there is no nowhere.json
dataset_converters/hold_out_coco.py coco_text.json a b --per-category 1 | coco_text.json is not JSON
dataset_converters/hold_out_coco.py coco_cut.json a b --per-category 1 | coco_cut.json is not JSON
dataset_converters/hold_out_coco.py coco_latin.json a b --per-category 1 | coco_latin.json is not JSON
dataset_converters/hold_out_coco.py coco_folder.json a b --per-category 1 | coco_folder.json cannot be read
dataset_converters/hold_out_coco.py coco_list.json a b --per-category 1 | coco_list.json has no list of images
dataset_converters/hold_out_coco.py coco_number.json a b --per-category 1 | coco_number.json has no list of images
dataset_converters/hold_out_coco.py coco_missing.json a b --per-category 1 | has no list of categories
dataset_converters/hold_out_coco.py coco_empty.json a b --per-category 1 | must have training images of the categories
dataset_converters/hold_out_coco.py coco_no_names.json a b --per-category 1 | has no id and name in categories[0]
dataset_converters/hold_out_coco.py coco_no_ids.json a b --per-category 1 | has no id in images[0], which is {'file_n
dataset_converters/hold_out_coco.py coco_strings.json a b --per-category 1 | in annotations[0], which is 'a'
dataset_converters/hold_out_coco.py coco_no_category.json a b --per-category 1 | image_id and category_id in annotat
dataset_converters/hold_out_coco.py coco_other_category.json a b --per-category 1 | but none of 2 has one
dataset_converters/hold_out_coco.py coco_twice.json a b --per-category 1 | but 0.jpg is there twice
dataset_converters/hold_out_coco.py coco.json a b --per-category 99 | has 3 training images and can spare 2, but got 99
dataset_converters/hold_out_coco.py coco.json a b --per-category 0 | --per-category must be a number in [1, inf), but g
dataset_converters/hold_out_coco.py coco.json a b --fraction nan | --fraction must be a number in (0, 1), but got nan
dataset_converters/hold_out_coco.py coco.json a b --per-category 1 --classes zebra | but got 'zebra'
dataset_converters/inat_lists.py nowhere.json out.txt | nowhere.json
dataset_converters/inat_lists.py coco_text.json out.txt | coco_text.json is not JSON
dataset_converters/inat_lists.py coco_latin.json out.txt | coco_latin.json is not JSON
dataset_converters/inat_lists.py coco_list.json out.txt | coco_list.json has no list of images
dataset_converters/inat_lists.py coco_missing.json out.txt | coco_missing.json has no list of annotations
dataset_converters/inat_lists.py coco_empty.json out.txt | coco_empty.json has no image
dataset_converters/inat_lists.py coco_no_ids.json out.txt | has no id and file_name in images[0]
dataset_converters/inat_lists.py coco_strings.json out.txt | has no image_id and category_id in annotations[0]
dataset_converters/inat_lists.py coco_no_image.json out.txt | must have an annotation of each image, but has none of 6
dataset_converters/inat_lists.py coco.json empty_folder | empty_folder
dataset_converters/inat_lists.py coco.json file/out.txt | file
'''
FOLDERS = '''
dataset_converters/folder_lists.py nowhere lists | nowhere is missing; it must have one folder of images for each class
dataset_converters/folder_lists.py file lists | file
dataset_converters/folder_lists.py empty_folder lists | must have a folder for each of at least two classes
dataset_converters/folder_lists.py classes lists --val-per-class 9 | the rarest class, 'a', has 2 images and can spare 1
dataset_converters/folder_lists.py classes lists --val-per-class x | --val-per-class: invalid int value: 'x'
dataset_converters/digits_folder.py file | file
dataset_converters/make_shapes_lvis.py file | file
dataset_converters/make_shapes_lvis.py shapes --num-classes 99 | num_classes must be in [2, 60], but got 99
dataset_converters/make_shapes_lvis.py shapes --imbalance-ratio nan | imbalance_ratio must be a number in [1, inf)
dataset_converters/make_shapes_lvis.py shapes --seed -4 | must be an integer of at least 0, but got -4
quickstart.py --seeds -1 | must be an integer of at least 0, but got -1
quickstart.py --seeds x | must be an integer of at least 0, but got x
quickstart.py --work-dir file | file
write_metafiles.py --foo | unrecognized arguments: --foo
'''
CONFIGS = '''
dataset_converters/check_images.py nowhere.py | no such file: nowhere.py
dataset_converters/check_images.py config_folder.py | no such file: config_folder.py
dataset_converters/check_images.py config_text.txt | config_text.txt must be a config that can be read, but OSError
dataset_converters/check_images.py config_latin.py | config_latin.py must be a config that can be read, but UnicodeDec
dataset_converters/check_images.py config_syntax.py | config_syntax.py must be a config that can be read, but Syntax
dataset_converters/check_images.py config_no_base.py | not_there.py
dataset_converters/check_images.py config_name.py | but NameError: name 'undefined' is not defined
dataset_converters/check_images.py config_empty.py | must have dataloaders of images, but no train_dataloader
dataset_converters/check_images.py config.py | the train split must be an ImageList or ImageFolder, but is a
dataset_converters/check_images.py config.py --cfg-options foo | --cfg-options must be KEY=VALUE, but got 'foo'
dataset_converters/check_images.py config.py --cfg-options =3 | --cfg-options must be KEY=VALUE, but got '=3'
dataset_converters/check_images.py config.py --cfg-options a=[1,2 | the value of 'a=[1,2' cannot be read
dataset_converters/check_images.py config.py --cfg-options custom_hooks.99.type=X | must fit config.py, but KeyError
dataset_converters/check_images.py config.py --cfg-options train_dataloader=3 | has no attribute 'dataset'
compare_methods.py nowhere.py | no such config: nowhere.py
compare_methods.py config_folder.py | config_folder.py must be a config, but is a folder
compare_methods.py config_latin.py | config_latin.py must be a config that can be read
compare_methods.py config_empty.py | config_empty.py must have model=dict(...), but has None
compare_methods.py config_import.py | config_import.py must have model=dict(...), but has None
compare_methods.py config.py --cfg-options optim_wraper.type=X | no 'optim_wraper'; did you mean 'optim_wrapper'?
compare_methods.py config.py --cfg-options foo | --cfg-options must be KEY=VALUE, but got 'foo'
compare_methods.py config.py --seeds -1 | must be an integer of at least 0, but got -1
deployment/export_onnx.py nowhere.py good.pth o.onnx --image-size 8 8 | no such file: nowhere.py
deployment/export_onnx.py config.py nowhere.pth o.onnx --image-size 8 8 | no such file: nowhere.pth
deployment/export_onnx.py config_number.py good.pth o.onnx --image-size 8 8 | must have model=dict(...), but has 1
deployment/export_onnx.py config_type.py good.pth o.onnx --image-size 8 8 | did you mean 'DeconfoundHead'?
deployment/export_onnx.py config_argument.py good.pth o.onnx --image-size 8 8 | config_argument.py must be a config that
deployment/export_onnx.py config_value.py good.pth o.onnx --image-size 8 8 | num_heads must be an integer of at least 1
deployment/export_onnx.py config.py good.pth o.onnx --image-size 0 8 | must be an integer of at least 1, but got 0
deployment/export_onnx.py config.py good.pth o.onnx --image-size 8 8 --alpha nan | in [0, inf), but got nan
deployment/export_onnx.py config.py good.pth o.onnx --image-size 8 8 --classifier nope | 'nope' is not a layer of
deployment/export_onnx.py config.py good.pth o.onnx --image-size 8 8 --channels 3 | --channels 3, --image-size [8, 8] a
deployment/export_onnx.py config.py good.pth o.onnx --image-size 8 8 --channels 1 --opset 99 | --opset 99 must fit
deployment/export_onnx.py config.py truncated.pth o.onnx --image-size 8 8 | truncated.pth must be a checkpoint, but is
deployment/export_onnx.py config.py headed.pth o.onnx --image-size 8 8 | not one of this config.py (headed.pth): backbon
deployment/export_onnx.py config.py undirected.pth o.onnx --image-size 8 8 | needs the head direction
deployment/export_onnx.py config.py opposed.pth o.onnx --image-size 8 8 --alpha auto | needs a positive mean cosine
'''
DEMO = '''
demo.py nowhere.png config.py good.pth | nowhere.png is not a file
demo.py image_folder.png config.py good.pth | image_folder.png is not a file
demo.py image_text.png config.py good.pth | image_text.png cannot be read as an image
demo.py image_empty.png config.py good.pth | image_empty.png cannot be read as an image
demo.py image_cut.png config.py good.pth | image_cut.png cannot be read as an image
demo.py image.png nowhere.py good.pth | no such file: nowhere.py
demo.py image.png config_no_test.py good.pth | config_no_test.py must have test_dataloader=dict(...), but has None
demo.py image.png detector.py good.pth | detector.py must be the config of a classifier
demo.py image.png config.py garbage.pth | garbage.pth must be a checkpoint, but cannot be read as one
demo.py image.png config.py other.pth | the checkpoint other.pth is not one of this config.py: backbone.layers.0.0.weigh
demo.py image.png config.py headed.pth | the checkpoint headed.pth is not one of this config.py: backbone.layers.0.0.wei
demo.py image.png config.py narrow.pth | head.fc.weight has shape (10, 256) here, but (10, 5) in the checkpoint
demo.py image.png config.py undirected.pth | needs the head direction
demo.py image.png config.py good.pth --alpha -2 | must be 'auto' or a number in [0, inf), but got -2
demo.py image.png config.py good.pth --cfg-options model.backbone.in_channels=3 | It belongs to another network
'''
ANALYSIS = '''
analysis/sweep_alpha.py config_name.py good.pth | config_name.py must be a config that can be read, but NameError
analysis/sweep_alpha.py config_model.py good.pth | config_model.py must have model=dict(...), but has None
analysis/sweep_alpha.py config_no_val.py good.pth | config_no_val.py must have a val_dataloader, but has None
analysis/sweep_alpha.py config_no_shots.py good.pth | the val evaluator of config_no_shots.py needs a mmcausal.ShotAcc
analysis/sweep_alpha.py config_shots.py good.pth | the val_evaluator of config_shots.py must be one that can be built
analysis/sweep_alpha.py config_data.py good.pth | imbalance_ratio must be a number in [1, 100]
analysis/sweep_alpha.py detector.py good.pth | detector.py must be the config of a classifier, but has a CascadeRCNN
analysis/sweep_alpha.py config.py truncated.pth | truncated.pth must be a checkpoint, but is truncated
analysis/sweep_alpha.py config.py other.pth | the checkpoint other.pth is not one of this ImageClassifier: head.fc.we
analysis/sweep_alpha.py config.py headed.pth | It belongs to another network
analysis/sweep_alpha.py config.py evil.pth | evil.pth is not loaded, because it holds a
analysis/sweep_alpha.py config.py undirected.pth | needs the head direction
analysis/sweep_alpha.py config.py good.pth --alphas abc | must be 'auto' or a number in [0, inf), but got abc
analysis/sweep_alpha.py config.py good.pth --split train | invalid choice: 'train' (choose from
analysis/sweep_alpha.py config.py good.pth --select nope | --select nope: the shot metric reports overall, many
analysis/sweep_alpha.py config.py good.pth --taus -1 | must be a number in [0, inf), but got -1
analysis/sweep_alpha.py config.py good.pth --features file | file must be a folder for features, but is a file
analysis/sweep_alpha.py config.py good.pth --write-config config.py | config.py
analysis/pictures.py config.py truncated.pth --out-dir p | truncated.pth must be a checkpoint, but is truncated
analysis/pictures.py config.py good.pth --out-dir p --classifier nope | 'nope' is not a layer of ImageClassifier
analysis/report.py nowhere | work_dir must be the folder of a training, but got nowhere
analysis/report.py file | work_dir must be the folder of a training, but got file
analysis/report.py empty_folder | empty_folder must hold the config of one training, but has []
analysis/report.py empty_folder --config config.py | empty_folder has no last_checkpoint
analysis/report.py empty_folder --config config.py --checkpoint nowhere.pth | no such file: nowhere.pth
analysis/report.py empty_folder --config config.py --checkpoint empty.pth | empty.pth must be a checkpoint, but is empty
analysis/estimate_direction.py config.py garbage.pth out.pth | garbage.pth must be a checkpoint
analysis/estimate_direction.py config.py classes.pth out.pth | not one of this config.py (classes.pth): head.fc.weight
analysis/estimate_direction.py config.py headed.pth out.pth | the checkpoint headed.pth is not one of this config.py
analysis/estimate_direction.py config.py good.pth good.pth | good.pth
analysis/estimate_direction.py config.py good.pth out.pth --momentum nan | momentum must be in [0, 1), but got nan
analysis/estimate_direction.py config.py good.pth out.pth --cfg-options train_dataloader=3 | the train_dataloader of co
analysis/sweep_detector_alpha.py config.py good.pth | but ImageClassifier has no roi_head
analysis/sweep_detector_alpha.py config.py good.pth --num-images 0 | must be an integer of at least 1, but got 0
'''
HOSTS = '''
test.py | usage:
test.py nowhere.py good.pth | nowhere.py must be a config, but is missing
test.py confg.py good.pth | confg.py must be a config, but is missing; did you mean 'config.py'?
test.py config_syntax.py good.pth | config_syntax.py must be a config that can be read
test.py config_scope.py good.pth | config_scope.py belongs to mmfoo, which is not installed
test.py config_type.py good.pth | did you mean 'DeconfoundHead'?
test.py config_argument.py good.pth | got an unexpected keyword argument 'taau'
test.py config.py nowhere.pth | nowhere.pth must be a checkpoint, but is missing
test.py config.py folder.pth | folder.pth must be a checkpoint, but is a folder
test.py config.py truncated.pth | truncated.pth must be a checkpoint, but is truncated
test.py config.py evil.pth | evil.pth is not loaded, because it holds a
test.py config.py other.pth | the checkpoint other.pth is not one of this ImageClassifier: head.fc.weight
test.py config.py headed.pth | the checkpoint headed.pth is not one of this ImageClassifier: backbone.layers.0.0.weight
test.py config.py good.pth --cfg-options modle.head.alpha=1 | it has no 'modle'; did you mean 'model'?
test.py config.py good.pth --cfg-options foo | --cfg-options must be KEY=VALUE, but got 'foo'
test.py config.py good.pth --cfg-options model.head.alpha=abc | alpha must be a non-negative number or 'auto', but got
train.py config_empty.py | config_empty.py must have model=dict(...), but has None
train.py config.py --resume truncated.pth | truncated.pth must be a checkpoint, but is truncated
train.py config.py --resume good.pth | must go on (resume) from a checkpoint of its own, but good.pth has weights alone
train.py config.py --cfg-options load_from=nowhere.pth | nowhere.pth must be a checkpoint, but is missing
train.py config.py --cfg-options train_dataloader.dataset.type=LongTailedDigit | LongTailedDigit
train.py config.py --cfg-options train_dataloader=3 | train_dataloader=3 cannot be built from its config: TypeError: obj
train.py config.py --cfg-options train_dataloader.batch_size=x | be a positive integer value, but got batch_size=x
train.py config.py --cfg-options train_dataloader.collate_fn.type=foo | cannot be built from its config: TypeError: the
train.py config.py --cfg-options train_dataloader.dataset.pipeline=Foo | cannot be built from its config: TypeError:
train.py config.py --cfg-options train_cfg.max_epochs=x | cannot be built from its config: ValueError: invalid literal f
train.py config.py --cfg-options optim_wrapper.optimizer.type=SGDD | but got 'SGDD'; did you mean 'SGD'?
train.py config.py --cfg-options optim_wrapper.optimizer.type=LAMBDA | must be an optimizer of MMEngine or of mmpretrain
train.py config.py --cfg-options optim_wrapper.optimizer=3 | cannot be built from its config: AttributeError: 'int' obje
train.py config.py --cfg-options optim_wrapper=SGD | cannot be built from its config: TypeError: optimizer wrapper shoul
train.py config.py --cfg-options optim_wrapper.paramwise_cfg=3 | paramwise_cfg should be None or a dict, but got
train.py config.py --cfg-options custom_hooks=3 | cannot be built from its config: TypeError: 'int' object is not iter
train.py config.py --cfg-options param_scheduler.0.type=Foo | param_scheduler
'''
STORES = '''
json | store_json/identity.json is damaged: Expecting property name
list | store_list/identity.json is damaged: it must hold a JSON object, but holds a list
other | store_other holds features of another checkpoint
done | store_done/num_done is damaged: invalid literal for int() with base 10: 'many'. Remove store_done
negative | store_negative/num_done is damaged: it must hold a number in [0, 240], but holds -5
many | store_many/num_done is damaged: it must hold a number in [0, 240], but holds 999999
cut | store_cut/features.npy is damaged
garbage | store_garbage/features.npy is damaged
objects | store_objects/features.npy is damaged
channels | store_channels/features.npy is damaged: it must have float32 of shape (240, 256), but has float32 of shape
halved | store_halved/labels.npy is damaged
'''
SCRIPTS = '''
dist_train.sh | usage: tools/dist_train.sh CONFIG GPUS
dist_train.sh nowhere.py 2 | CONFIG must be a file, but got 'nowhere.py'
dist_train.sh {config} two | GPUS must be a number of at least 1, but got 'two'
dist_test.sh | usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS
dist_test.sh {config} nowhere.pth 2 | CHECKPOINT must be a file, but got 'nowhere.pth'
slurm_train.sh | tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR
slurm_test.sh p j c | tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT
quickstart.sh --sedes 1 | unknown argument '--sedes'
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('wrong')
    write_wrong_files(root)
    return root


@pytest.mark.parametrize('command, words', refusals(
    '\n'.join(map(str.strip, (PUBLISH, ANNOTATIONS, FOLDERS, CONFIGS, DEMO, ANALYSIS, HOSTS)))))
def test_a_wrong_call_ends_with_a_sentence(folder, monkeypatch, command, words):
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    check_refusal(command, words)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not (folder / 'ran').exists()  # what the checkpoints would run


@pytest.fixture(scope='module')
def stores(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        status, output = call('analysis/sweep_alpha.py', 'config.py', 'good.pth', '--features', 'store')
    assert status == 0, output
    write_wrong_stores(folder)


@pytest.mark.parametrize('name, words', refusals(STORES))
def test_a_damaged_store_is_named(folder, stores, monkeypatch, name, words):
    monkeypatch.chdir(folder)
    check_refusal(f'analysis/sweep_alpha.py config.py good.pth --features store_{name}', words)
    assert not (folder / 'ran').exists()


@pytest.mark.parametrize('command, words', refusals(SCRIPTS))
def test_scripts_print_their_usage(command, words):
    script, *arguments = command.format(config=ROOT / 'configs/digits_lt/linear_small_ir100.py').split()
    output = run('bash', ROOT / 'tools' / script, *arguments, status=2)
    assert words in output and 'usage: ' in output and 'Traceback' not in output


def test_a_fault_in_code_of_the_user_keeps_its_traceback(folder, monkeypatch):
    (folder / 'own_part.py').write_text('from mmengine.registry import HOOKS\n\n\n@HOOKS.register_module()\n'
                                        'class OwnHook:\n\n    def __init__(self):\n        len(3)\n')
    (folder / 'config_own.py').write_text("_base_ = './config.py'\ncustom_imports = dict(imports=['own_part'])\n"
                                          "custom_hooks = [dict(type='mmengine.OwnHook')]\n")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(TypeError, match='has no len'):
        call('train.py', 'config_own.py')


def raised_by(functions, folder):
    """Return an error that comes through functions: (module, name, folder), the outermost first."""
    error = ZeroDivisionError('a fault')
    body = 'def {name}(then, error):\n    if then: then[0](then[1:], error)\n    else: raise error\n'
    calls = []
    for module, name, place in functions:
        scope = {'__name__': module}
        exec(compile(body.format(name=name), f'{place}/{name}.py', 'exec'), scope)
        calls.append(scope[name])
    try:
        calls[0](calls[1:], error)
    except ZeroDivisionError as raised:
        raised.__traceback__ = raised.__traceback__.tb_next  # without this test
        return raised


@pytest.mark.parametrize('functions, expected', [
    ([('mmengine.runner.runner', 'build_dataloader', 'site')], True),
    ([('mmengine.runner.loops', '__init__', 'site'), ('torch.utils.data', '__init__', 'site')], True),
    ([('mmengine.runner.loops', 'run', 'site'), ('mmengine.evaluator.evaluator', 'evaluate', 'site')], False),
    ([('mmengine.runner.loops', 'run', 'site'), ('other.data', '__getitem__', 'site')], False),
    ([('mmengine.runner.runner', 'build_model', 'site'), ('own', '__init__', '/home/user')], False),
    ([('mmengine.runner.runner', 'build_model', 'site'), ('own', '__init__', 'tools_of_mine')], False),
])
def test_what_counts_as_building(functions, expected, tmp_path, monkeypatch):
    """Work that has begun keeps its traceback, and so does code of the user, wherever it lies."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    host = importlib.import_module('host')
    places = {'site': sysconfig.get_path('purelib'), 'tools_of_mine': f'{ROOT}/tools_of_mine'}
    error = raised_by([(module, name, places.get(place, place)) for module, name, place in functions], tmp_path)
    assert host.is_of_building(error) is expected and not host.is_about_input(error)


def test_modules_whose_names_begin_alike_are_not_ours(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    host = importlib.import_module('host')
    error = raised_by([('hostile', 'work', '/home/user')], tmp_path)
    assert not host.is_about_input(error) and host._is_in('mmcausal.hooks', 'mmcausal')
    assert not host._is_in('mmcausal_mine', 'mmcausal')


def test_a_test_needs_no_optimizer(folder, monkeypatch):
    monkeypatch.chdir(folder)
    status, output = call('test.py', 'config.py', 'good.pth', '--cfg-options', 'optim_wrapper.optimizer.type=AdamW8bit')
    assert status == 0, output


@pytest.mark.parametrize('suffix', ['json', 'yaml', 'yml'])
def test_configs_have_any_format_that_mmengine_reads(folder, monkeypatch, tmp_path, suffix):
    monkeypatch.chdir(folder)
    Config.fromfile('config.py').dump(str(tmp_path / f'config.{suffix}'))
    status, output = call('test.py', str(tmp_path / f'config.{suffix}'), 'good.pth')
    assert status == 0, output


def test_an_output_before_the_config_is_not_taken_for_it(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    out = tmp_path / 'metrics.json'
    status, output = call('test.py', '--out', out, '--out-item', 'metrics', 'config.py', 'good.pth')
    assert status == 0 and json.loads(out.read_text()), output


def test_the_good_files_are_good(folder, monkeypatch):
    """Otherwise every call above would be refused."""
    monkeypatch.chdir(folder)
    for command in ('publish_checkpoint.py good.pth n', 'test.py config.py good.pth',
                    'demo.py image.png config.py good.pth',
                    'dataset_converters/hold_out_coco.py coco.json kept.json held_out.json --per-category 1'):
        status, output = call(*command.split())
        assert status == 0, output
    assert len(json.loads((folder / 'held_out.json').read_text())['images']) == 2
