"""Configs, loaded once, and their differences."""
import functools

from mmengine.config import Config


@functools.lru_cache(maxsize=None)
def load(path):
    return Config.fromfile(path)


def flatten(value, prefix=''):
    """Return the values of nested dicts by their keys, joined by dots."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flatten(item, f'{prefix}{key}.').items()}
    return {prefix[:-1]: value}


def changed(path, other):
    """Return the keys in which two configs differ."""
    own, base = (flatten(load(p).to_dict()) for p in (path, other))
    return {key for key in own.keys() | base.keys() if own.get(key) != base.get(key)}
