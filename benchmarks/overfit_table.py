"""Overfit detectors with 1203 classes on a handful of real images, from scratch, and test them on the same images.

Give it images and their annotations in LVIS v1 format. The detectors come from configs/shapes_lvis, with the classes of
LVIS. A test on the training images shows that boxes, masks, losses and evaluation fit together; it says nothing about
accuracy on new images.
"""
import argparse
import json
from pathlib import Path

from four_ways import CONFIGS, print_table, test_four_ways, trainings
from mmengine.config import Config, DictAction

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text

NUM_CLASSES = 1203


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann_file', type=Path, help='annotations in LVIS v1 format')
    parser.add_argument('images', type=Path, help='folder of the images; the path in their coco_url is relative to it')
    parser.add_argument('--epochs', type=int, default=48)
    parser.add_argument('--image-size', type=int, default=416, help='longer side, in pixels')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/overfit_table'))
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to both configs')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def make_config(kind: str, args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(CONFIGS / 'shapes_lvis' / f'cascade_{kind}_r18.py')
    for head in (*cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = NUM_CLASSES
    # One mask for all classes instead of 1203 saves seconds and gigabytes per image
    cfg.model.roi_head.mask_head.update(class_agnostic=True)
    resize = dict(type='Resize', scale=(args.image_size, args.image_size), keep_ratio=True)
    load, annotate, _, pack = cfg.train_pipeline  # without the flip, to train on the very images of the test
    cfg.train_dataloader.dataset.pipeline = [load, annotate, resize, pack]
    test_pipeline = [resize if step.type == 'Resize' else step for step in cfg.test_pipeline]
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(type='mmcausal.LVISV1Dataset', data_root='', ann_file=str(args.ann_file),
                              data_prefix=dict(img=f'{args.images}/'))
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.pipeline = test_pipeline
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(args.ann_file)
    cfg.train_cfg.update(max_epochs=args.epochs, val_interval=args.epochs)
    cfg.param_scheduler[-1].milestones = [args.epochs * 3 // 4, args.epochs * 11 // 12]
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def main() -> None:
    args = parse_args()
    results = test_four_ways(lambda kind: make_config(kind, args), args.seed, args.work_dir)
    print_table([results], ('AP', 'AP50', 'APf'))
    logs = trainings(args.work_dir, args.seed)
    for kind, log in logs.items():
        first, last = log['losses'][0]['loss'], log['losses'][-1]['loss']
        print(f'{kind}: loss {first:.2f} in the first epoch, {last:.2f} in the last, {log["minutes"]} minutes')
    if args.out:
        content = dict(provenance(), seed=args.seed, epochs=args.epochs, results=results, trainings=logs)
        write_text(args.out, json.dumps(content, indent=1))


if __name__ == '__main__':
    main()
