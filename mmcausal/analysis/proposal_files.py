"""Files with the proposals of one image. They hold arrays and text alone, so reading one runs nothing."""
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, TypedDict, Union

import numpy as np
import torch
from torch import Tensor

BoxPredictions = Union[Tensor, Tuple[Tensor, ...]]  # SABLHead has two for each box


class Proposals(TypedDict):
    """Inputs of the box heads for one image.

    ``features`` holds the classifier's input (n, D) of each stage. The other entries are arguments of the last head's
    ``predict_by_feat``; ``rois`` (n, 5) and ``bbox_pred`` are ``None`` without a proposal, ``bbox_pred`` also without
    regression.
    """
    features: List[Tensor]
    rois: Optional[Tensor]
    bbox_pred: Optional[BoxPredictions]
    img_meta: dict


def proposals_as_bytes(proposals: Proposals) -> bytes:
    """Return proposals in NumPy's ``.npz`` format, with ``img_meta`` as JSON."""
    bbox_pred = proposals['bbox_pred']
    parts: Dict[str, Optional[Tensor]] = {'rois': proposals['rois']}
    parts.update(_numbered('features', proposals['features']))
    parts.update({'bbox_pred': bbox_pred} if bbox_pred is None or isinstance(bbox_pred, Tensor) else
                 _numbered('bbox_pred', bbox_pred))
    arrays = {name: part.cpu().numpy() for name, part in parts.items() if part is not None}
    text = json.dumps(proposals['img_meta'], default=lambda value: getattr(value, 'tolist', value.__str__)())
    with io.BytesIO() as buffer:
        np.savez(buffer, img_meta=np.frombuffer(text.encode(), np.uint8), **arrays)
        return buffer.getvalue()


def read_proposals(path: Path) -> Proposals:
    """Read a file of :func:`proposals_as_bytes`. The lists of ``img_meta`` become tuples.

    Raises:
        ValueError: A damaged file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts = {name: arrays[name] for name in arrays.files}
        img_meta = _with_tuples(json.loads(parts.pop('img_meta').tobytes().decode()))
        tensors = {name: torch.from_numpy(part) for name, part in parts.items()}
        proposals = Proposals(features=list(_unnumbered('features', tensors)), rois=tensors.get('rois'),
                              bbox_pred=tensors.get('bbox_pred', _unnumbered('bbox_pred', tensors) or None),
                              img_meta=img_meta)
        _check(proposals)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path} is damaged: {error!r}. Remove {path.parent}') from error
    return proposals


def _check(proposals: Proposals) -> None:
    rois, features = proposals['rois'], proposals['features']
    number = 0 if rois is None else len(rois)
    if any(part.ndim != 2 or len(part) != number for part in features):
        raise ValueError(f'features of {number} proposals must have shape ({number}, D), but got '
                         f'{[tuple(part.shape) for part in features]}')


def _numbered(name: str, tensors: Union[List[Tensor], Tuple[Tensor, ...]]) -> Dict[str, Tensor]:
    return {f'{name}_{index}': tensor for index, tensor in enumerate(tensors)}


def _unnumbered(name: str, tensors: Dict[str, Tensor]) -> Tuple[Tensor, ...]:
    number = sum(key.startswith(f'{name}_') for key in tensors)
    return tuple(tensors[f'{name}_{index}'] for index in range(number))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
