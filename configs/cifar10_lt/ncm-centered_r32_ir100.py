_base_ = './ncm_r32_ir100.py'
# As in the source: centred features of unit length, compared with the class means by the Euclidean distance
model = dict(head=dict(type='mmcausal.CenteredHead', classifier=dict(type='mmcausal.EuclideanNCMLinear')))
