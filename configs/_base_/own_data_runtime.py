_base_ = './lvis_runtime.py'
# A training on your own data may be shorter than the 5000 iterations of LVIS that 0.9998 averages
head_direction_hook = dict(momentum=0.99)
