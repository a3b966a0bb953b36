_base_ = [
    '../_base_/models/cascade-mask-rcnn_r18_shapes.py',
    '../_base_/datasets/shapes_lvis.py',
    '../_base_/schedules/shapes_24e.py',
    '../_base_/shapes_runtime.py',
]
