"""Write configs/*/metafile.yml and model-index.yml from the configs.

Name, collection and training data of a model come from its config. Everything else, such as results, weights and the
papers of the collections, stays as the metafile has it.
"""
import argparse
import sys
from pathlib import Path
from typing import Any, Dict, List

import yaml
from mmengine.config import Config

from mmcausal.commands import plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.files import write_text

ROOT = Path(__file__).resolve().parent.parent
# Keyed by benchmark: the last field of a config's name, or else its folder
TRAINING_DATA = {
    'cifar10_lt': 'Long-tailed CIFAR-10',
    'cifar100_lt': 'Long-tailed CIFAR-100',
    'digits_lt': 'Long-tailed digits',
    'imagenet_lt': 'ImageNet-LT',
    'inat18': 'iNaturalist 2018',
    'lvis': 'LVIS v1.0',
    'lvis-v0.5': 'LVIS v0.5',
    'own_data': 'Images of your own',
    'places_lt': 'Places-LT',
    'shapes_lvis': 'Generated shapes in LVIS format',
    'v3det': 'V3Det',
}


class IndentedDumper(yaml.SafeDumper):
    """Indent lists, as OpenMMLab's metafiles do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; exit with 1 if a file is out of date')
    return parser.parse_args()


def load_yaml(path: Path) -> Dict[str, Any]:
    """Return the content of the file, empty if there is none."""
    return yaml.safe_load(path.read_text(encoding='utf-8')) if path.exists() else {}


def describe_model(config: Path) -> Dict[str, Any]:
    """Return the entry of a config, as far as the config decides it."""
    folder, last_field = config.parent.name, config.stem.split('_')[-1]
    benchmark = last_field if last_field in TRAINING_DATA else folder
    if benchmark not in TRAINING_DATA:
        sys.exit(f'{config}: add the training data of {benchmark} to TRAINING_DATA in {__file__}')
    hooks = [hook['type'] for hook in Config.fromfile(config).get('custom_hooks', [])]
    return {
        'Name': config.stem if benchmark == last_field else f'{config.stem}_{folder}',
        'In Collection': 'De-confound-TDE' if 'mmcausal.HeadDirectionHook' in hooks else 'Long-tailed baselines',
        'Config': config.relative_to(ROOT).as_posix(),
        'Metadata': {'Training Data': TRAINING_DATA[benchmark]},
    }


def update_model(old: Dict[str, Any], new: Dict[str, Any]) -> Dict[str, Any]:
    """Return the new entry with everything that only the old one says."""
    return {**old, **new, 'Metadata': {**old.get('Metadata', {}), **new['Metadata']}}


def update_metafile(metafile: Dict[str, Any], models: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Return the metafile with one entry for each of the models, sorted by name."""
    old = {model['Config']: model for model in metafile.get('Models', [])}
    updated = [update_model(old.get(model['Config'], {}), model) for model in models]
    return {**metafile, 'Models': sorted(updated, key=lambda model: model['Name'])}


def update_index(index: Dict[str, Any], metafiles: List[str]) -> Dict[str, Any]:
    """Return the index of the metafiles: first the known ones in their order, then the others."""
    known = [metafile for metafile in index.get('Import', []) if metafile in metafiles]
    return {**index, 'Import': known + [metafile for metafile in metafiles if metafile not in known]}


def update_files() -> Dict[Path, Dict[str, Any]]:
    """Return the content that the index and each metafile should have."""
    models: Dict[Path, List[Dict[str, Any]]] = {}
    for config in sorted((ROOT / 'configs').glob('[!_]*/*.py')):
        models.setdefault(config.parent / 'metafile.yml', []).append(describe_model(config))
    index = ROOT / 'model-index.yml'
    metafiles = [path.relative_to(ROOT).as_posix() for path in models]
    return {
        index: update_index(load_yaml(index), metafiles),
        **{path: update_metafile(load_yaml(path), models[path]) for path in models},
    }


def find_outdated() -> Dict[Path, str]:
    """Return the new text of each file that is out of date."""
    texts = {path: yaml.dump(content, Dumper=IndentedDumper, sort_keys=False, allow_unicode=True, width=120)
             for path, content in update_files().items()}
    return {path: text for path, text in texts.items() if not path.exists() or path.read_text(encoding='utf-8') != text}


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    outdated = find_outdated()
    for path, text in outdated.items():
        print(path.relative_to(ROOT))
        if not args.check:
            write_text(path, text)
    if args.check and outdated:
        sys.exit(1)


if __name__ == '__main__':
    main()
