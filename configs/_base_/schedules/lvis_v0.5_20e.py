_base_ = 'mmdet::_base_/schedules/schedule_20e.py'
# As the authors for v0.5: gradients are clipped, and the warm-up starts at a third of the rate
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=1 / 3), _base_.param_scheduler[1]]
