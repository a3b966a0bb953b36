"""What the box heads of a detector see, on disk: another alpha needs the network no more."""
import contextlib
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Union
from unittest import mock

import torch
from torch import nn

from mmcausal.evaluation.feature_store import check_identity
from mmcausal.hosts import require_host

require_host('mmdet')

from mmcausal.models.tde_roi_heads import TDERoIHeadMixin, box_heads, class_probs, class_scores  # noqa: E402

# of one image: per stage the classifier's input (n, D); the arguments of the last head's ``predict_by_feat``
Proposals = Dict[str, Any]


def check_alpha_free_boxes(roi_head: Any) -> None:
    """Raise ``ValueError`` where the boxes of later stages would depend on alpha, so that they cannot be stored."""
    if not isinstance(roi_head, TDERoIHeadMixin):
        raise ValueError(f'a RoI head with TDE is needed, got {type(roi_head).__name__}; enable_detector_tde makes one')
    heads = box_heads(roi_head)
    if len(heads) > 1 and not all(head.reg_class_agnostic for head in heads):
        raise ValueError('a cascade with class-specific boxes refines those of the class that is first by TDE, so its '
                         'proposals depend on alpha and cannot be stored')


@torch.no_grad()
def iterate_proposals(detector: nn.Module, dataloader: Iterable[Any]) -> Iterator[Proposals]:
    """The proposals of each image, on the CPU.

    Args:
        detector: In evaluation mode, with a RoI head that passes :func:`check_alpha_free_boxes`. Masks are left out.
        dataloader: Yields what ``detector.test_step`` takes, one image at a time.
    """
    roi_head: Any = detector.roi_head
    check_alpha_free_boxes(roi_head)
    heads = box_heads(roi_head)
    features: List[torch.Tensor] = []
    calls: List[tuple] = []
    predict_by_feat = heads[-1].predict_by_feat

    def recording(rois: Any, cls_scores: Any, bbox_preds: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((rois[0].cpu(), bbox_preds[0].cpu()))
        return predict_by_feat(rois, cls_scores, bbox_preds, *args, **kwargs)

    handles = [head.fc_cls.register_forward_pre_hook(lambda _, args: features.append(args[0].float().cpu()))
               for head in heads]
    no_masks: Any = contextlib.nullcontext()
    if roi_head.with_mask:
        no_masks = mock.patch.object(roi_head, 'mask_head', None)
    with mock.patch.object(heads[-1], 'predict_by_feat', recording), no_masks:
        try:
            for batch in dataloader:
                features.clear()
                calls.clear()
                sample, = detector.test_step(batch)
                rois, bbox_pred = calls[0] if calls else (None, None)  # no call without a proposal
                yield dict(features=features[:len(heads)], rois=rois, bbox_pred=bbox_pred, img_meta=sample.metainfo)
        finally:
            for handle in handles:
                handle.remove()


@torch.no_grad()
def detect_again(detector: nn.Module, proposals: Proposals, alpha: float) -> Dict[str, torch.Tensor]:
    """Boxes (M, 4) in the image's own size, scores (M,) and labels (M,) of stored proposals with another alpha."""
    roi_head: Any = detector.roi_head
    if proposals['rois'] is None:
        empty = torch.zeros(0)
        return dict(bboxes=empty.reshape(0, 4), scores=empty, labels=empty.long())
    heads = box_heads(roi_head)
    device = heads[0].fc_cls.weight.device
    stages = []
    for head, features in zip(heads, proposals['features']):
        head.fc_cls.alpha = alpha
        stages.append(class_probs(head, head.fc_cls(features.float().to(device))))
    scores = class_scores(heads[-1], torch.stack(stages).mean(0))
    result, = heads[-1].predict_by_feat((proposals['rois'].to(device), ), (scores, ),
                                        (proposals['bbox_pred'].to(device), ), [proposals['img_meta']],
                                        rcnn_test_cfg=roi_head.test_cfg, rescale=True)
    return {key: result[key].cpu() for key in ('bboxes', 'scores', 'labels')}


class ProposalStore:
    """The proposals of the images of a data set, one file an image; what is not yet there is appended.

    Args:
        folder: Where the store is, or will be.
        identity: What the proposals depend on, e.g. hashes of checkpoint and data set.
        dtype: Of stored features, ``'float16'`` or ``'float32'``.

    Raises:
        ValueError: A folder whose proposals depend on something else.
    """

    def __init__(self, folder: Union[str, Path], identity: Dict[str, Any], dtype: str = 'float16') -> None:
        self.folder = Path(folder)
        self.dtype = getattr(torch, dtype)
        self.identity = dict(identity, dtype=dtype)
        check_identity(self.folder, self.identity)
        self.num_done = len(list(self.folder.glob('*.pt')))

    def __len__(self) -> int:
        return self.num_done

    def append(self, proposals: Proposals) -> None:
        path = self.folder / f'{len(self):08d}.pt'
        features = [feature.to(self.dtype) for feature in proposals['features']]
        # Renamed when whole, so that a run that is stopped here leaves no half file.
        torch.save(dict(proposals, features=features), path.with_suffix('.new'))
        path.with_suffix('.new').replace(path)
        self.num_done += 1

    def __iter__(self) -> Iterator[Proposals]:
        for path in sorted(self.folder.glob('*.pt')):
            yield torch.load(path, map_location='cpu', weights_only=False)  # our own file
