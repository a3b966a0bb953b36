"""AP by total effect beside AP by TDE, for metrics on boxes."""
from typing import Dict, List, Optional, Sequence, Tuple, Union

from mmengine.logging import MMLogger

from mmcausal.temporary import temporarily

Results = List[Tuple[dict, dict]]


class TotalEffectMixin:
    """Report the boxes by total effect too, if the samples have ``total_effect_instances``.

    The metrics follow as ``total_effect_bbox_mAP`` and so on. Masks are not evaluated again.
    """
    metrics: List[str]
    results: Results
    format_only: bool
    outfile_prefix: Optional[str]

    def process(self, data_batch: Union[dict, tuple, list, None], data_samples: Sequence[dict]) -> None:
        first = len(self.results)
        super().process(data_batch, data_samples)  # type: ignore[misc]
        for (_, prediction), sample in zip(self.results[first:], data_samples):
            if 'total_effect_instances' in sample:
                boxes = {name: sample['total_effect_instances'][name].cpu().numpy()
                         for name in ('bboxes', 'scores', 'labels')}
                prediction['total_effect'] = dict(boxes, img_id=prediction['img_id'])

    def compute_metrics(self, results: Results) -> Dict[str, float]:
        by_total_effect = [(truth, prediction['total_effect']) for truth, prediction in results
                           if 'total_effect' in prediction]
        values: Dict[str, float] = {}
        if by_total_effect and 'bbox' in self.metrics and not self.format_only:
            MMLogger.get_current_instance().info('Boxes by total effect (alpha = 0):')
            with temporarily(self, metrics=['bbox'], outfile_prefix=None):  # boxes alone, and no file
                values = self.evaluate_predictions(by_total_effect)
            MMLogger.get_current_instance().info('By TDE:')
        return {**self.evaluate_predictions(results),
                **{f'total_effect_{name}': value for name, value in values.items()}}

    def evaluate_predictions(self, results: Results) -> Dict[str, float]:
        """Return the metrics of pairs of ground truth and prediction."""
        return super().compute_metrics(results)  # type: ignore[misc]
