"""Classify one image by total effect and by TDE: print the top five classes of each, side by side.

Also saves a plot with both and with the image regions behind each prediction (Grad-CAM). With alpha = 0 there is no TDE
to show; then the tool says how to choose alpha.
"""
import argparse
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import cv2
import mmcv
import numpy as np
import torch
from mmpretrain import ImageClassificationInferencer

from mmcausal.analysis import provide_class_counts
from mmcausal.checkpoint_files import read_checkpoint, safe_checkpoints
from mmcausal.checkpoints import OTHER_NETWORK, check_checkpoint, missing_parameters, weights_of
from mmcausal.commands import (
    add_options_argument,
    add_overwrite_argument,
    alpha_argument,
    check_outputs,
    file_argument,
    plain_errors,
    total_effect_alone,
)
from mmcausal.config_files import errors_naming, read_config
from mmcausal.encoding import use_utf8
from mmcausal.hosts import is_installed
from mmcausal.models import TDELinear, enable_tde
from mmcausal.models.enable_tde import alpha_of, without_wrappers
from mmcausal.text import pad, short_names
from mmcausal.visualization import (
    NoFeatureMapError,
    draw_grad_cam,
    grad_cams,
    image_to_show,
    paper_figure,
    save_figure,
)

Ranking = List[Tuple[str, float]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('image', type=Path)
    parser.add_argument('config', type=file_argument)
    parser.add_argument('checkpoint', type=file_argument, help='a checkpoint with a head direction')
    parser.add_argument('--classifier', default='head.fc', help='name of the classifier layer; default head.fc')
    parser.add_argument('--alpha', type=alpha_argument, help="alpha of TDE, or auto; default: the config's")
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo.png'), help='file for the plot')
    add_overwrite_argument(parser)
    add_options_argument(parser)
    args = parser.parse_args()
    if not args.image.is_file():
        parser.error(f'{args.image} is not a file')
    if not is_installed('pytorch_grad_cam'):
        parser.error('the plot needs grad-cam: pip install grad-cam')
    check_outputs(parser, args, args.out)
    return args


def read_image(inferencer: ImageClassificationInferencer, path: Path) -> np.ndarray:
    """Return the image (H, W, channels) in the network's format.

    That is grey, BGR as from the host's loader, or RGB if the training images were not read from files.
    """
    preprocessor = without_wrappers(inferencer.model).data_preprocessor
    is_grey = getattr(preprocessor, '_enable_normalize', False) and preprocessor.mean.numel() == 1
    try:
        image = mmcv.imread(str(path), flag='grayscale' if is_grey else 'color')
    except cv2.error:  # an empty file
        image = None
    if image is None:
        sys.exit(f'{path} cannot be read as an image')
    if is_grey:
        return image[..., None]
    steps = inferencer.config.test_dataloader.dataset.pipeline
    is_from_file = any(step['type'] == 'LoadImageFromFile' for step in steps)
    return image if is_from_file else np.ascontiguousarray(image[..., ::-1])


def top_classes(inferencer: ImageClassificationInferencer, layer: TDELinear, image: np.ndarray, alpha: float,
                number: int = 5) -> Ranking:
    """Return class names and probabilities, most probable first."""
    layer.alpha = alpha
    scores = np.asarray(inferencer(image)[0]['pred_scores'])
    names = short_names(inferencer.classes or range(len(scores)))
    return [(names[label], float(scores[label])) for label in np.argsort(-scores)[:number]]


def draw(inferencer: ImageClassificationInferencer, layer: TDELinear, image: np.ndarray, alphas: Dict[str, float],
         rankings: List[Ranking], out: Path) -> None:
    classifier = without_wrappers(inferencer.model)
    data = next(iter(inferencer.preprocess([image])))
    ready = classifier.data_preprocessor(data)['inputs'][0]
    shown = image_to_show(classifier, data['inputs'][0])
    figure, _ = paper_figure(columns=len(alphas))
    cams = grad_cams(classifier, layer, ready, alphas)
    for axes, (name, (_, heat)), ranking in zip(figure.axes, cams.items(), rankings):
        lines = '\n'.join(f'{label} {100 * score:.1f} %' for label, score in ranking)
        draw_grad_cam(axes, shown, heat, f'{name}\n{lines}')
    save_figure(figure, out)


def load(args: argparse.Namespace) -> Tuple[ImageClassificationInferencer, TDELinear, float]:
    """Return inferencer, classifier layer and alpha: that of the command line or else of the config, as a number."""
    cfg = read_config(args.config, args.cfg_options, needs=['model', 'test_dataloader'])
    for step in cfg.test_dataloader.dataset.get('pipeline') or []:
        if 'LoadImage' in str(step['type']):
            step['type'] = 'LoadImageFromFile'  # the host loads the image itself, and leaves a step of this name out
    state = weights_of(read_checkpoint(args.checkpoint))
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    with safe_checkpoints(), errors_naming(f'{args.config} must be the config of a classifier'):
        inferencer = ImageClassificationInferencer(cfg, pretrained=args.checkpoint, device=device)
    inferencer.show_progress = False  # for one image
    classifier = without_wrappers(inferencer.model)
    check_checkpoint(args.config, missing_parameters(classifier, state), OTHER_NETWORK, args.checkpoint)
    alpha = alpha_of(classifier, args.classifier) if args.alpha is None else args.alpha
    layer = enable_tde(classifier, alpha, args.classifier)
    # Again, because a stock layer had no place for a direction
    classifier.load_state_dict(state, strict=False)
    layer.check_loaded()
    provide_class_counts(classifier, cfg)
    return inferencer, layer, layer.resolved_alpha()


def print_table(rankings: Dict[str, Ranking]) -> None:
    print(''.join(f'{name:<40}' for name in rankings).rstrip())
    for row in zip(*rankings.values()):
        print(''.join(pad(f'{100 * score:>6.2f} %  {name}', 40) for name, score in row).rstrip())


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    inferencer, layer, alpha = load(args)
    image = read_image(inferencer, args.image)
    alphas = {'total effect': 0., **({f'TDE, alpha {alpha:.2f}': alpha} if alpha else {})}
    with errors_naming(f'{args.image} must be an image that {args.config} can classify'):
        rankings = {name: top_classes(inferencer, layer, image, value) for name, value in alphas.items()}
    print_table(rankings)
    if not alpha:
        print(total_effect_alone(args.config, args.checkpoint, args.classifier))
    try:
        draw(inferencer, layer, image, alphas, list(rankings.values()), args.out)
    except NoFeatureMapError as error:
        sys.exit(f'No plot: {error}')
    print(f'Plot: {args.out}')


if __name__ == '__main__':
    main()
