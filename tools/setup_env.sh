#!/usr/bin/env bash
# Install mmcausal with versions of OpenMMLab that work together.
#
# usage: tools/setup_env.sh [classic|modern] [cls|all] [--active]
#
#   classic   OpenMMLab's releases (Python 3.8 to 3.11); the default where your python3 is one of these
#   modern    the maintained OneDL forks (Python 3.10 to 3.13); the default for a newer python3
#   cls       classification, with mmcv-lite: no compiler needed (default)
#   all       detection and the test tools too: compiles mmcv's operators unless an index has a wheel
#   --active  install into the active environment instead of .venv
#
# Environment: PYTHON, the interpreter to use; MMCAUSAL_VENV, the folder instead of .venv; PIP_FIND_LINKS, folders with
# wheels; MMCV_BASE_URL, a mirror of the hosts' own index of compiled wheels, as for mim; TORCH_CPU_INDEX, a mirror of
# PyTorch's index of builds without CUDA. Run it again after an interruption: finished steps are not repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'setup_env: %s\n' "$*" >&2; exit 1; }
say() { printf '== %s\n' "$*"; }

stack='' extent=cls active=''
for argument in "$@"; do
    case $argument in
        classic | modern) stack=$argument ;;
        cls | all) extent=$argument ;;
        --active) active=yes ;;
        *) fail "unknown argument '$argument'; usage: tools/setup_env.sh [classic|modern] [cls|all] [--active]" ;;
    esac
done

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

fits() { # STACK VERSION
    case $1:$2 in
        classic:3.8 | classic:3.9 | classic:3.10 | classic:3.11) return 0 ;;
        modern:3.10 | modern:3.11 | modern:3.12 | modern:3.13) return 0 ;;
        *) return 1 ;;
    esac
}

versions_of() { case $1 in classic) echo '3.8 to 3.11' ;; modern) echo '3.10 to 3.13' ;; *) echo '3.8 to 3.13' ;; esac; }

find_python() { # STACK... -> the first interpreter that fits one of the stacks
    local candidate stack candidates=(python3 python python3.11 python3.10 python3.12 python3.13 python3.9 python3.8)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        for stack in "$@"; do
            if fits "$stack" "$(version_of "$candidate")"; then printf '%s' "$candidate"; return; fi
        done
    done
}

venv=${MMCAUSAL_VENV:-.venv}
if [ -n "$active" ]; then
    PYTHON=$(command -v python || command -v python3) || fail 'no python in the active environment'
elif [ -x "$venv/bin/python" ]; then
    PYTHON=$venv/bin/python
    [ -n "$stack" ] || stack=$(cat "$venv/mmcausal-stack" 2>/dev/null || true)
fi
python=$(find_python ${stack:-classic modern})
[ -n "$python" ] || fail "${stack:+the $stack stack }needs Python $(versions_of "$stack"), but ${PYTHON:-python3} is \
$(version_of "${PYTHON:-python3}" || echo 'missing'). Install it, or choose one: PYTHON=/path/to/python tools/setup_env.sh"
[ -n "$stack" ] || stack=$(fits classic "$(version_of "$python")" && echo classic || echo modern)

if [ -z "$active" ]; then
    if [ "$(cat "$venv/mmcausal-stack" 2>/dev/null || echo "$stack")" != "$stack" ]; then
        fail "$venv holds the $(cat "$venv/mmcausal-stack") stack; remove it, or choose another folder with MMCAUSAL_VENV"
    fi
    if [ ! -x "$venv/bin/python" ]; then
        say "Creating $venv with $python ($(version_of "$python"))"
        "$python" -m venv "$venv" || fail "$python cannot make a virtual environment; on Debian and Ubuntu: apt install \
python3-venv"
    fi
    printf '%s\n' "$stack" > "$venv/mmcausal-stack"
    python=$venv/bin/python
fi

refuse_mixture() { # Both stacks bring the same modules: the files of one would replace the other's.
    local other
    other=$("$python" - "$stack" <<'END'
import sys
from importlib.metadata import distributions

names = {'classic': 'onedl-mmengine onedl-mmcv onedl-mmpretrain onedl-mmdetection onedl-mim',
         'modern': 'mmengine mmcv mmpretrain mmdet openmim'}[sys.argv[1]].split()
installed = {found.metadata['Name'].lower().replace('_', '-') for found in distributions()}
print(*(name for name in names if name in installed))
END
)
    [ -z "$other" ] || fail "$python has packages of the other stack, whose files the $stack stack would replace. \
Remove them, or choose another environment: $python -m pip uninstall $other"
}
refuse_mixture

constraints=requirements/$stack.txt
stamps=$("$python" -c 'import sys; print(sys.prefix)')/mmcausal-done
mkdir -p "$stamps"
export PIP_DISABLE_PIP_VERSION_CHECK=1

pip() { "$python" -m pip "$@"; }
install() { pip install --quiet --constraint "$constraints" "$@"; }

step() { # NAME TEXT COMMAND...: run the command unless it ran for these constraints before
    local name=$1 text=$2 key
    shift 2
    key=$(cat "$constraints" setup.cfg | cksum)
    if [ "$(cat "$stamps/$name" 2>/dev/null)" = "$key" ]; then
        say "$text: done before"
        return
    fi
    say "$text"
    "$@"
    printf '%s\n' "$key" > "$stamps/$name"
}

is_reachable() { # URL
    "$python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1" 2>/dev/null
}

lack_of_space() { # -> what is missing for PyTorch with CUDA and its download; folders on one disk add up
    "$python" -c 'import os, shutil, sys, tempfile
needs = {}
for folder, size in ((sys.argv[1], 6), (tempfile.gettempdir(), 3)):
    needs.setdefault(os.stat(folder).st_dev, [folder, 0])[1] += size
lacks = ((folder, shutil.disk_usage(folder).free / 2**30, size) for folder, size in needs.values())
print(*(f"{folder} has {free:.1f} GB free of {size}" for folder, free, size in lacks if free < size), sep=", and ")' "$stamps"
}

install_torch() {
    local index=${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu} options=() lack
    if [ "$(uname)" = Linux ]; then  # The default builds for Linux bring CUDA.
        if ! nvidia-smi --list-gpus >/dev/null 2>&1 && is_reachable "$index/torch/"; then
            say 'This machine shows no NVIDIA GPU: PyTorch without CUDA'
            options=(--extra-index-url "$index")
        elif ! "$python" -c 'import torch' 2>/dev/null; then
            lack=$(lack_of_space)
            [ -z "$lack" ] || say "PyTorch with CUDA takes 6 GB and downloads 3 GB, but $lack. If that fails, free some, or \
choose another disk: MMCAUSAL_VENV for the environment, TMPDIR for the download"
        fi
    fi
    install ${options[@]+"${options[@]}"} torch torchvision numpy
}

install_mmcv_lite() {
    # The full mmcv of 'all' serves classification too.
    if "$python" -c 'import mmcv' 2>/dev/null; then return; fi
    # All its dependencies but mmengine, which on the modern stack is a fork of another name.
    install addict numpy opencv-python packaging pillow pyyaml yapf
    pip install --quiet --no-deps --constraint "$constraints" mmcv-lite
}

wheels_page() { # the hosts' page of compiled wheels for this PyTorch
    "$python" -c 'import os
from mim.commands.install import DEFAULT_MMCV_BASE_URL, get_mmcv_full_find_link
print(get_mmcv_full_find_link(os.environ.get("MMCV_BASE_URL", DEFAULT_MMCV_BASE_URL)))'
}

install_mmcv_wheel() { # NAME OPTION...
    local name=$1
    shift
    install --only-binary "$name" "$@" "$name" 2>/dev/null && "$python" -c 'import mmcv.ops' 2>/dev/null
}

install_mmcv() {
    local name=mmcv mim=openmim page
    [ "$stack" = classic ] || { name=onedl-mmcv mim=onedl-mim; }
    rm -f "$stamps/mmcv-lite"  # uninstalled from here on, even if the compile fails
    pip uninstall --quiet --yes mmcv-lite 2>/dev/null
    if install_mmcv_wheel "$name"; then return; fi
    install "$mim"
    page=$(wheels_page)
    if is_reachable "$page" && install_mmcv_wheel "$name" --find-links "$page"; then return; fi
    command -v c++ >/dev/null || fail "no index has a wheel of $name for this Python and PyTorch, and there is no C++ \
compiler to build it: install one (on Debian and Ubuntu: apt install g++), or use 'cls' alone"
    say "No index has a wheel of $name for this Python and PyTorch: compiling it takes 10 to 20 minutes on two cores, once."
    install ninja psutil
    MMCV_WITH_OPS=1 pip install --progress-bar on --verbose --no-build-isolation --no-deps --force-reinstall \
        --constraint "$constraints" "$name" \
        | grep --line-buffered -E '^ *(\[[0-9]+/[0-9]+\]|Building|Successfully)' | cut -c1-100
    install "$name"
    "$python" -c 'import mmcv.ops'
}

install_mmdeploy() {
    # Of its dependencies, those that it imports here; the others pin an old protobuf.
    install aenum multiprocess prettytable terminaltables
    pip install --quiet --no-deps --constraint "$constraints" \
        'mmdeploy; platform_system == "Linux" and platform_machine == "x86_64"'
}

analysis=(grad-cam onnx onnxruntime lightning)
testing=(pytest pytest-xdist pytest-timeout hypothesis selenium)
if [ "$stack" = classic ]; then
    classification=(mmengine mmpretrain openmim scikit-learn matplotlib torchmetrics)
    detection=(mmdet lvis 'hotcoco; python_version >= "3.10"')
else
    classification=(onedl-mmengine onedl-mmpretrain onedl-mim scikit-learn matplotlib torchmetrics)
    detection=(onedl-mmdetection lvis hotcoco)
fi

say "mmcausal, $stack stack, '$extent', into $("$python" -c 'import sys; print(sys.prefix)')"
step tools 'Build tools' install setuptools wheel
step torch 'PyTorch, up to 3 GB: 2 to 3 minutes' install_torch
if [ "$extent" = all ]; then
    step mmcv 'mmcv with its operators' install_mmcv
else
    step mmcv-lite 'mmcv without operators' install_mmcv_lite
fi
step cls 'MMEngine and MMPretrain: 1 minute' install "${classification[@]}"
if [ "$extent" = all ]; then
    step all 'MMDetection and test tools' install "${detection[@]}" "${testing[@]}"
    step analysis 'Grad-CAM, ONNX, Lightning' install "${analysis[@]}"
    # There is no MMDeploy for the forks.
    if [ "$stack" = classic ]; then step mmdeploy 'MMDeploy' install_mmdeploy; fi
fi
# An unconstrained dependency may have replaced these
install "setuptools" numpy
refuse_mixture
step mmcausal-"$(cat setup.cfg pyproject.toml | cksum | cut -d' ' -f1)" 'mmcausal itself' \
    pip install --quiet --no-deps --no-build-isolation --editable .
# mim looks for a package beside its metadata, but an editable install puts none there. The link is recorded, so that
# pip removes it before it installs anything else in its place.
"$python" - <<'END'
from importlib.metadata import distribution
from pathlib import Path

installed = distribution('mmcausal')
link = Path(installed.locate_file('mmcausal'))
if link.is_symlink() or not link.exists():
    if link.is_symlink():
        link.unlink()
    link.symlink_to(Path('mmcausal').resolve())
    record = Path(next(file for file in installed.files if file.name == 'RECORD').locate())
    lines = record.read_text(encoding='utf-8')
    if 'mmcausal,,' not in lines.splitlines():
        record.write_text(lines + 'mmcausal,,\n', encoding='utf-8')
END
say "Ready: $python"
