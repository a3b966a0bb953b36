"""Index of the public names: where each one lives, so that it is imported when somebody asks for it."""
from importlib import import_module
from types import ModuleType
from typing import Callable, Dict, List, Tuple, Union

from mmcausal.checks import did_you_mean
from mmcausal.hosts import HOSTS, require_host

# A module that needs a host says so when it is imported; these modules are therefore imported one by one, by name.
MODULES: Dict[str, Tuple[str, ...]] = {
    'mmcausal.config_files': ('config_path', 'with_num_classes'),
    'mmcausal.models': ('check_tde', 'enable_tde', 'DeployedClassifier'),
    'mmcausal.models.crop_flip_preprocessor': ('CropFlipDataPreprocessor', ),
    'mmcausal.models.layers': ('DeconfoundLinear', 'DetectionDeconfoundLinear', 'EuclideanNCMLinear', 'LWSLinear',
                               'LogitAdjustedDeconfoundLinear', 'LogitAdjustedLinear', 'NCMLinear', 'TDELinear',
                               'TauNormLinear'),
    'mmcausal.models.losses': ('ClassBalancedLoss', 'ClassPriorLoss', 'DeferredReweightingLoss', 'EqualizationLoss',
                               'LDAMLoss', 'LabelAwareSmoothingLoss', 'LogitAdjustedLoss', 'SampleLoss',
                               'SoftmaxFocalLoss'),
    'mmcausal.models.losses.eqlv2_loss': ('EQLV2Loss', ),
    'mmcausal.models.backbones': ('ResNet10', 'ResNet32', 'SmallConvNet', 'TwinBackbone', 'TwinResNeXt'),
    'mmcausal.models.heads': ('CenteredHead', 'ClassifierHead', 'DeconfoundHead', 'OLTRHead'),
    'mmcausal.models.classifiers': ('BBNClassifier', 'FineTunedClassifier', 'StageTwoClassifier'),
    'mmcausal.models.roi_heads': ('CascadeTDEMixin', 'LabelMaskCascadeRoIHead', 'LabelMaskHybridTaskCascadeRoIHead',
                                  'LabelMaskMixin', 'LabelMaskStandardRoIHead', 'StandardTDEMixin', 'TDECascadeRoIHead',
                                  'TDEDoubleHeadRoIHead', 'TDEDynamicRoIHead', 'TDEGridRoIHead',
                                  'TDEHybridTaskCascadeRoIHead', 'TDEMaskScoringRoIHead', 'TDEPISARoIHead',
                                  'TDEPointRendRoIHead', 'TDERoIHeadMixin', 'TDESCNetRoIHead', 'TDEStandardRoIHead',
                                  'TDETridentRoIHead'),
    'mmcausal.models.tta.tde_classifier_tta': ('TDEClassifierTTA', ),
    'mmcausal.models.tta.tde_detector_tta': ('TDEDetectorTTA', 'enable_detector_tde'),
    'mmcausal.hooks': ('ChannelsLastHook', 'CheckpointCheckHook', 'CheckpointHook', 'ClassMeansHook', 'ClassPriorHook',
                       'CompileBackboneHook', 'CumulativeLearningHook', 'DeferredReweightingHook', 'ExactResumeHook',
                       'HeadDirectionHook', 'PicturesHook', 'RestartClassifierHook'),
    'mmcausal.hooks.detector_check_hook': ('DetectorCheckHook', ),
    'mmcausal.loops': ('ClassMeansLoop', ),
    'mmcausal.optim_wrapper': ('CPUAmpOptimWrapper', ),
    'mmcausal.datasets.samplers': ('ClassPowerSampler', 'ProgressivelyBalancedSampler', 'TwoBranchSampler'),
    'mmcausal.datasets.cifar_lt': ('LongTailedCIFAR10', 'LongTailedCIFAR100'),
    'mmcausal.datasets.digits_lt': ('LongTailedDigits', ),
    'mmcausal.datasets.class_counts': ('drawn_class_counts', ),
    'mmcausal.datasets.image_folder': ('ImageFolder', ),
    'mmcausal.datasets.image_list': ('ImageList', 'ImageNetLT'),
    'mmcausal.datasets.load_image': ('LoadImage', ),
    'mmcausal.datasets.lvis': ('CheckedLVISMixin', 'LVISV05Dataset', 'LVISV1Dataset', 'ShapesDataset'),
    'mmcausal.evaluation': ('ShotAccuracy', 'frequency_groups', 'named_groups', 'quantile_groups', 'shot_groups'),
    'mmcausal.evaluation.coco_metric': ('CocoMetric', ),
    'mmcausal.evaluation.lvis_metric': ('CheckedSamplesMixin', 'LVISFixedAPMetric', 'LVISMetric'),
    'mmcausal.analysis': ('Correction', 'FeatureStore', 'collect_features', 'iterate_features', 'sweep_alpha',
                          'sweep_corrections', 'write_alpha_config'),
    'mmcausal.visualization': ('classifier_pictures', 'draw_alpha_sweep', 'grad_cam_pictures', 'report_page'),
    'mmcausal.analysis.proposal_store': ('ProposalStore', 'detect_again', 'iterate_proposals'),
}
MODULE_OF: Dict[str, str] = {name: module for module, names in MODULES.items() for name in names}
PACKAGES: List[str] = sorted({module.split('.')[1] for module in MODULES})


def load_module(name: str) -> ModuleType:
    """Import the module of a public name.

    Raises:
        ImportError: Its host is missing or has another version; it names the host.
    """
    try:
        return import_module(MODULE_OF[name])
    except ModuleNotFoundError as error:
        if error.name in HOSTS:
            require_host(error.name)
        raise


def nearest_name(name: str) -> str:
    """Return ``"; did you mean 'X'?"`` for the public name closest to ``name``, or an empty string."""
    return did_you_mean(name, MODULE_OF)


def component_getattr(package: str) -> Callable[[str], Union[type, ModuleType, Callable[..., object]]]:
    """Return a ``__getattr__`` by which ``package`` imports its public names when they are asked for.

    Raises:
        ImportError: In the returned function, for a component of a missing host; it names the host.
        AttributeError: In the returned function, for an unknown name; it suggests the nearest.
    """

    def module_getattr(name: str) -> Union[type, ModuleType, Callable[..., object]]:
        if package == 'mmcausal' and name in PACKAGES:
            return import_module(f'{package}.{name}')
        module = MODULE_OF.get(name, '')
        if module == package or not f'{module}.'.startswith(f'{package}.'):
            raise AttributeError(f'module {package!r} has no attribute {name!r}{nearest_name(name)}')
        return getattr(load_module(name), name)

    return module_getattr
