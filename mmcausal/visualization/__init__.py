"""Plots of one trained classifier, on Matplotlib axes: colour-blind safe, readable in a column of a paper."""
from mmcausal.visualization.alpha import draw_alpha_sweep, draw_over_alpha
from mmcausal.visualization.class_accuracy import draw_class_accuracy
from mmcausal.visualization.classifier import PICTURES, classifier_pictures
from mmcausal.visualization.features import (
    draw_decomposition,
    draw_direction_cosines,
    draw_feature_norms,
    draw_weight_norms,
)
from mmcausal.visualization.grad_cam import (
    NoFeatureMapError,
    draw_grad_cam,
    draw_grad_cams,
    example_indices,
    grad_cam_pictures,
    grad_cams,
    image_to_show,
)
from mmcausal.visualization.predictions import (
    calibration_errors,
    draw_confusion,
    draw_reliability,
    shot_confusion,
)
from mmcausal.visualization.report import class_rows, report_page
from mmcausal.visualization.style import (
    CLASSIFIER_COLORS,
    SHOT_COLORS,
    as_written,
    paper_figure,
    save_figure,
    to_image,
)

__all__ = [
    'CLASSIFIER_COLORS', 'NoFeatureMapError', 'PICTURES', 'SHOT_COLORS', 'as_written', 'calibration_errors',
    'class_rows', 'classifier_pictures', 'draw_alpha_sweep', 'draw_class_accuracy', 'draw_confusion',
    'draw_decomposition', 'draw_direction_cosines', 'draw_feature_norms', 'draw_grad_cam', 'draw_grad_cams',
    'draw_over_alpha', 'draw_reliability', 'draw_weight_norms', 'example_indices', 'grad_cam_pictures', 'grad_cams',
    'image_to_show', 'paper_figure', 'report_page', 'save_figure', 'shot_confusion',
    'to_image'
]
