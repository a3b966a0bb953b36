"""The examples of docs/pytorch.md, in environments with PyTorch alone, with classification and with everything."""
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import ROOT

EXAMPLES = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'pytorch.md').read_text(), re.DOTALL)
LOOP = EXAMPLES[1]
PLAIN = [example for example in EXAMPLES if 'import lightning' not in example]
LIGHTNING = next(example for example in EXAMPLES if 'import lightning' in example)
PYTORCH = ('torch', 'setuptools')  # torch 2.1 imports pkg_resources without requiring it
HOSTS_OF = dict(DeconfoundHead='mmpretrain', HeadDirectionHook='mmengine', TDECascadeRoIHead='mmdet', EQLV2Loss='mmdet',
                LongTailedCIFAR100='mmengine', ClassMeansLoop='mmengine', CPUAmpOptimWrapper='mmengine',
                FeatureStore='mmengine', LVISMetric='mmengine')
# Of the stack that is installed: a distribution that is not there is left out
CLASSIFICATION = (*PYTORCH, 'torchvision', 'mmpretrain', 'onedl-mmpretrain', 'mmengine', 'onedl-mmengine',
                  'scikit-learn')


def closure(names):
    """Return the installed distributions that ``names`` require, directly or not, extras left out."""
    found, todo = {}, list(names)
    while todo:
        name = re.match(r'[\w.-]+', todo.pop()).group().lower().replace('_', '-')
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another platform or Python
            continue
        todo += [text for text in found[name].requires or [] if 'extra ==' not in text]
    return found


def environment(folder, *names):
    """Link the packages of these distributions, and nothing else, into a folder; return the variables that use it."""
    folder.mkdir()
    for distribution in closure(names).values():
        for top in {path.parts[0] for path in distribution.files if path.parts[0] not in ('..', '__pycache__')}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(distribution.locate_file(top)))
    (folder / 'mmcausal').symlink_to(ROOT / 'mmcausal')
    return dict(os.environ, PYTHONPATH=str(folder), OMP_NUM_THREADS='1')


def python(code, env):
    """Run code without the site-packages of this interpreter; return its output."""
    done = subprocess.run([sys.executable, '-S', '-c', code], env=env, cwd='/', text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def torch_alone(tmp_path_factory):
    return environment(tmp_path_factory.mktemp('environment') / 'torch', *PYTORCH)


@pytest.fixture(scope='module')
def classification(tmp_path_factory):
    mmcv = 'mmcv' if 'mmcv' in closure(['mmcv']) else 'onedl-mmcv'
    return environment(tmp_path_factory.mktemp('environment') / 'cls', *CLASSIFICATION, mmcv)


def test_the_loop_is_short():
    assert len(LOOP.strip().splitlines()) <= 15


@pytest.mark.parametrize('example', PLAIN, ids=range(len(PLAIN)))
def test_examples_need_torch_alone(torch_alone, example):
    python(example, torch_alone)


def test_torch_alone_has_layers_losses_and_priors(torch_alone):
    output = python(f"""
import sys, mmcausal
from mmcausal import DeconfoundLinear, LDAMLoss, SoftmaxFocalLoss, TDELinear, class_prior, enable_tde
from mmcausal.models import TauNormLinear
print([host for host in ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'numpy') if host in sys.modules])
for name in {list(HOSTS_OF)}:
    try:
        getattr(mmcausal, name)
    except ImportError as error:
        print(name, error)
""", torch_alone)
    assert '[]' in output.splitlines(), output
    for name, host in HOSTS_OF.items():
        assert re.search(rf'{name} mmcausal needs {host}>=[\d.]+,<[\d.]+ for this, but it is not installed', output)


def test_the_loop_with_classification_only(classification):
    python(LOOP, classification)
    output = python("""
from mmcausal import DeconfoundHead, HeadDirectionHook, LongTailedDigits
from mmengine.registry import MODELS
MODELS.build(dict(type='mmcausal.DeconfoundHead', num_classes=6, in_channels=8, loss=dict(
    type='mmpretrain.CrossEntropyLoss')))
try:
    from mmcausal import TDECascadeRoIHead
except ImportError as error:
    print(error)
""", classification)
    assert 'mmcausal needs mmdet>=' in output and 'but it is not installed' in output


def test_the_loop_with_everything():
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    code = LOOP + 'from mmcausal import DeconfoundHead, TDECascadeRoIHead, LVISMetric, ProposalStore\n'
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_loop_infers_by_tde():
    namespace = {}
    exec(LOOP, namespace)
    layer = namespace['network'][-1]
    assert layer.num_updates == 30 and layer.mean_feature.any() and not layer.training


def test_lightning_example():
    pytest.importorskip('lightning')
    namespace = {}
    exec(LIGHTNING, namespace)
    layer = namespace['model'].fc
    assert layer.num_updates == 20 and layer.mean_feature.any()
