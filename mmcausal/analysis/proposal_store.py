"""On-disk store of a detector's proposals, so that alpha can be swept without running the network again."""
import contextlib
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Union

import torch
from torch import Tensor, nn

from mmcausal.analysis.feature_store import Identity, check_identity
from mmcausal.analysis.proposal_files import BoxPredictions, Proposals, proposals_as_bytes, read_proposals
from mmcausal.files import write_bytes
from mmcausal.hosts import require_host

require_host('mmdet')

from mmdet.models.detectors import TwoStageDetector  # noqa: E402
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead  # noqa: E402

from mmcausal.models.enable_tde import is_augmented  # noqa: E402
from mmcausal.models.roi_heads.support import box_heads  # noqa: E402
from mmcausal.models.roi_heads.tde_roi_heads import class_probs, class_scores  # noqa: E402
from mmcausal.models.roi_heads.total_effect import check_alpha_free_boxes  # noqa: E402


@contextlib.contextmanager
def without_masks(roi_head: BaseRoIHead) -> Iterator[None]:
    """Switch the mask branch off within this context."""
    mask_head = getattr(roi_head, 'mask_head', None)
    roi_head.mask_head = None
    try:
        yield
    finally:
        roi_head.mask_head = mask_head


def _moved(bbox_pred: Optional[BoxPredictions], device: Union[str, torch.device]) -> Optional[BoxPredictions]:
    """Return the predictions of a box branch on a device, ``None`` from one without regression."""
    if bbox_pred is None:
        return None
    return bbox_pred.to(device) if isinstance(bbox_pred, Tensor) else tuple(part.to(device) for part in bbox_pred)


@contextlib.contextmanager
def recorded_box_branch(roi_head: BaseRoIHead) -> Iterator[Dict[str, list]]:
    """Record the box branch of every forward pass within this context, on the CPU.

    Yields:
        Lists that the passes append to: ``features``, the classifier's input of each stage; ``rois`` and ``bbox_pred``,
        input and output of the last stage.
    """
    heads = box_heads(roi_head)
    extractor = roi_head.bbox_roi_extractor
    last_extractor = extractor[-1] if isinstance(extractor, nn.ModuleList) else extractor
    record: Dict[str, list] = dict(features=[], rois=[], bbox_pred=[])
    with contextlib.ExitStack() as stack:
        for head in heads:
            stack.callback(head.fc_cls.register_forward_pre_hook(
                lambda _, args: record['features'].append(args[0].float().cpu())).remove)
        stack.callback(last_extractor.register_forward_pre_hook(
            lambda _, args: record['rois'].append(args[1].cpu())).remove)
        stack.callback(heads[-1].register_forward_hook(
            lambda _, args, outputs: record['bbox_pred'].append(_moved(outputs[1], 'cpu'))).remove)
        yield record


@torch.no_grad()
def iterate_proposals(detector: TwoStageDetector, dataloader: Iterable[dict]) -> Iterator[Proposals]:
    """Yield the proposals of each image, on the CPU.

    Args:
        detector: In evaluation mode, with a RoI head that passes :func:`check_alpha_free_boxes`. Masks are left out.
        dataloader: Yields inputs of ``detector.test_step``, one image at a time.

    Raises:
        ValueError: Another RoI head, or several views of an image, whose boxes are merged after NMS.
    """
    check_alpha_free_boxes(detector.roi_head)
    with without_masks(detector.roi_head), recorded_box_branch(detector.roi_head) as record:
        for batch in dataloader:
            if is_augmented(batch):
                raise ValueError('proposals must be those of one view per image, but the pipeline has test-time '
                                 'augmentation (TestTimeAug), which merges boxes; use a pipeline without it')
            for values in record.values():
                values.clear()
            sample, = detector.test_step(batch)
            rois, bbox_pred = (record[name][0] if record[name] else None for name in ('rois', 'bbox_pred'))
            yield Proposals(features=list(record['features']), rois=rois, bbox_pred=bbox_pred,
                            img_meta=sample.metainfo)


@torch.no_grad()
def detect_again(detector: TwoStageDetector, proposals: Proposals, alpha: float) -> Dict[str, Tensor]:
    """Detect with another alpha on stored proposals.

    Returns:
        ``bboxes`` (M, 4) in the image's own size, ``scores`` (M,) and ``labels`` (M,).
    """
    roi_head = detector.roi_head
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
                                        (_moved(proposals['bbox_pred'], device), ), [proposals['img_meta']],
                                        rcnn_test_cfg=roi_head.test_cfg, rescale=True)
    return {key: result[key].cpu() for key in ('bboxes', 'scores', 'labels')}


class ProposalStore:
    """Proposals of the images of a dataset, one file per image; append the missing ones.

    Args:
        folder: Folder of the store; created if missing.
        identity: Everything that the proposals depend on, e.g. hashes of checkpoint and dataset.
        dtype: Type of stored features, ``'float16'`` or ``'float32'``.

    Raises:
        ValueError: A folder of proposals with another identity, of an earlier release, or without one of its files.
        OSError: A folder that cannot be written to.
    """

    def __init__(self, folder: Union[str, Path], identity: Identity, dtype: str = 'float16') -> None:
        self.folder = Path(folder)
        if next(self.folder.glob('*.pt'), None):
            raise ValueError(f'{folder} must hold proposals as .npz files, but has .pt files of an earlier release, '
                             'which could run code. Remove it or choose another folder')
        self.dtype = getattr(torch, dtype)
        self.identity = dict(identity, dtype=dtype)
        check_identity(self.folder, self.identity)
        self.num_done = len(self._files())
        missing = next((index for index, file in enumerate(self._files()) if file != self._file(index)), None)
        if missing is not None:
            raise ValueError(f'{self.folder} is damaged: it lacks {self._file(missing).name}. Remove it')

    def _files(self) -> List[Path]:
        return sorted(self.folder.glob('*.npz'))

    def _file(self, index: int) -> Path:
        return self.folder / f'{index:08d}.npz'

    def __len__(self) -> int:
        return self.num_done

    def append(self, proposals: Proposals) -> None:
        """Add the proposals of the next image.

        Raises:
            ValueError: Features that are not finite in this precision.
            OSError: Too little space. The proposals before stay, and the same call goes on once there is space.
        """
        features = [feature.to(self.dtype) for feature in proposals['features']]
        if not all(feature.isfinite().all() for feature in features):
            raise ValueError(f'the features of image {len(self)} are not finite in {self.identity["dtype"]}')
        write_bytes(self._file(len(self)), proposals_as_bytes(Proposals(
            features=features, rois=proposals['rois'], bbox_pred=proposals['bbox_pred'],
            img_meta=proposals['img_meta'])))
        self.num_done += 1

    def __iter__(self) -> Iterator[Proposals]:
        return map(read_proposals, self._files())
