"""TDE around a trained classifier, at test time only."""
from typing import List, Optional, Union

from torch import nn

from mmcausal.hosts import require_host
from mmcausal.models.enable_tde import TestBatch, alpha_of, enable_tde, is_augmented
from mmcausal.models.layers import Alpha
from mmcausal.models.total_effect import TotalEffectRecorder
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models import AverageClsScoreTTA  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402


@MODELS.register_module()
class TDEClassifierTTA(AverageClsScoreTTA):
    """Test a trained classifier of MMPretrain with TDE, whatever its config says.

    Use it as the ``tta_model`` of a config, with ``--tta`` of the host's ``tools/test.py``, or as the ``model`` itself.
    It accepts ordinary pipelines, and test-time augmentation with averaged scores. Predictions by TDE also have the
    scores by total effect, see :class:`mmcausal.models.total_effect.TotalEffectRecorder`.

    Args:
        module: The classifier, or its config. If it is in such a wrapper already, this one takes its place.
        alpha: Trade-off of Eq. 8, or ``'auto'``, see :class:`DeconfoundLinear`. By default that of the classifier
            itself, 0 for a stock classifier.
        classifier: Name of the classifier layer within ``module``, see :func:`mmcausal.models.enable_tde`.
        data_preprocessor: As in MMEngine's ``BaseTTAModel``.

    Raises:
        ValueError: At construction, for an alpha out of range or a classifier without TDE.
        RuntimeError: At the first batch, if the checkpoint has no head direction.

    Example:
        ``python tools/test.py CONFIG CHECKPOINT --tta --cfg-options model.type=mmcausal.TDEClassifierTTA
        model.alpha=0.5``
    """
    module: nn.Module
    classifier: str
    recorder: TotalEffectRecorder

    def __init__(self,
                 module: Union[dict, nn.Module],
                 alpha: Optional[Alpha] = None,
                 classifier: str = 'head.fc',
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None) -> None:
        super().__init__(module, data_preprocessor)
        if isinstance(self.module, TDEClassifierTTA):  # --tta with a config that has this wrapper as its model
            self.module.recorder.remove()
            self.module, classifier = self.module.module, self.module.classifier
        self.classifier = classifier
        enable_tde(self.module, alpha_of(self.module, classifier) if alpha is None else alpha, classifier)
        self.recorder = TotalEffectRecorder(self.module)

    def test_step(self, data: TestBatch) -> List[DataSample]:
        """Return the predictions for a batch, or for a list of differently augmented batches."""
        return super().test_step(data) if is_augmented(data) else self.module.test_step(data)

    def merge_preds(self, data_samples_list: List[List[DataSample]]) -> List[DataSample]:
        """Return one prediction per image: the mean scores of its views, and the class of this mean."""
        merged = super().merge_preds(data_samples_list)
        for sample, views in zip(merged, data_samples_list):  # the host leaves the rest as it is in the first view
            sample.set_pred_label(sample.pred_score.argmax(-1))
            if 'total_effect_score' in sample:
                sample.total_effect_score = sum(view.total_effect_score for view in views) / len(views)
        return merged
