_base_ = './lvis_runtime.py'
# The run is too short for the 0.9998 of LVIS, whose average covers 5000 iterations
head_direction_hook = dict(momentum=0.99)
