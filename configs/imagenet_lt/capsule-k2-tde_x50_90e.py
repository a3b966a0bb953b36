_base_ = './capsule-tde_x50_90e.py'
model = dict(head=dict(num_heads=2))
