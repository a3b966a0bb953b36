"""Mixed precision on a CPU, in a real Runner."""
from helpers.runners import digits_runner


def test_bfloat16_in_training_alone(tmp_path):
    runner = digits_runner(tmp_path, **{'optim_wrapper.type': 'mmcausal.CPUAmpOptimWrapper'})
    dtypes = {True: set(), False: set()}
    runner.model.neck.register_forward_hook(
        lambda neck, inputs, outputs: dtypes[neck.training].add(str(outputs[0].dtype)))
    runner.train()
    assert dtypes == {True: {'torch.bfloat16'}, False: {'torch.float32'}}
    assert {str(t.dtype) for t in runner.model.state_dict().values()} == {'torch.float32', 'torch.int64'}
    layer = runner.model.head.fc
    assert layer.num_updates == 8 and layer.mean_feature.isfinite().all() and layer.weight.isfinite().all()
