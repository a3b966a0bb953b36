"""Comparison of a detector with its checkpoint and its data, before the work starts."""
from types import SimpleNamespace
from typing import List

from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmcausal.checkpoints import check_checkpoint, differences
from mmcausal.coco_annotations import check_category_order, load_annotations
from mmcausal.hooks.checkpoint_check_hook import CheckpointCheckHook, class_weights
from mmcausal.hosts import require_host
from mmcausal.registry import HOOKS

require_host('mmdet')

from mmdet.datasets import CocoDataset  # noqa: E402
from mmdet.engine.hooks import NumClassCheckHook  # noqa: E402


@HOOKS.register_module()
class DetectorCheckHook(CheckpointCheckHook, NumClassCheckHook):
    """Same as MMDetection's ``NumClassCheckHook``, except that it checks all data before the first epoch or test.

    It also compares a checkpoint with the detector and the data, see :class:`CheckpointCheckHook`, and refuses one with
    another number of classification stages, for training too. And it refuses an annotation file in COCO format without
    a category for each class, which would silently move the labels of the other classes.

    Raises:
        ValueError: Classes of a dataset, or stages or classes of a checkpoint, that are not the detector's; classes
            that are no category of the annotation file.
    """

    def before_train(self, runner: Runner) -> None:
        self._check_classes(runner, runner.train_dataloader)
        if runner.val_loop is not None:
            self._check_classes(runner, runner.val_dataloader)
        super().before_train(runner)

    def before_test(self, runner: Runner) -> None:
        self._check_classes(runner, runner.test_dataloader)
        super().before_test(runner)

    def _compare_weights(self, runner: Runner, checkpoint: dict) -> None:
        super()._compare_weights(runner, checkpoint)
        own, saved = ({name: shape for name, shape in weights.items() if name.endswith('fc_cls.weight')}
                      for weights in class_weights(runner, checkpoint))
        if saved and saved.keys() != own.keys():
            check_checkpoint('detector', differences(own, saved))

    def _check_classes(self, runner: Runner, dataloader: DataLoader) -> None:
        stand_in = SimpleNamespace(model=runner.model, train_dataloader=dataloader, logger=runner.logger)
        try:
            self._check_head(stand_in, 'train')
        except AssertionError as error:
            raise ValueError(str(error)) from error
        for dataset in _members(dataloader.dataset):
            _check_categories(dataset)

    def _check_head(self, runner: Runner, mode: str) -> None:
        # One by one, because the meta information of a ConcatDataset is a list if that of its members differs
        for dataset in _members((runner.train_dataloader if mode == 'train' else runner.val_dataloader).dataset):
            member = SimpleNamespace(dataset=dataset)
            super()._check_head(SimpleNamespace(model=runner.model, train_dataloader=member, logger=runner.logger),
                                'train')


def _members(dataset: Dataset) -> List[Dataset]:
    """Return the datasets in wrappers such as ``RepeatDataset`` and ``ConcatDataset``, at any depth."""
    inner = getattr(dataset, 'datasets', [dataset.dataset] if hasattr(dataset, 'dataset') else None)
    return [dataset] if inner is None else [member for part in inner for member in _members(part)]


def _check_categories(dataset: Dataset) -> None:
    """Raise ``ValueError`` if a class of a ``CocoDataset`` is no category of its file."""
    if not isinstance(dataset, CocoDataset) or len(dataset.cat_ids) == len(dataset.metainfo['classes']):
        return
    content = load_annotations(dataset.ann_file, backend_args=dataset.backend_args)
    check_category_order([category['name'] for category in content['categories']], dataset.metainfo['classes'],
                         dataset.ann_file)
