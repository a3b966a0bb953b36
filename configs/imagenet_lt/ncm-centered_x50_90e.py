_base_ = './ncm_x50_90e.py'
# As in the source: centred features of unit length, compared with the class means by the Euclidean distance
model = dict(head=dict(type='mmcausal.CenteredHead', classifier=dict(type='mmcausal.EuclideanNCMLinear')))
