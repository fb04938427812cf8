import numpy as np
import pytest
import torch
from torch import nn

from mmfeat.encoders.neural import runtime as runtime_module
from mmfeat.encoders.neural.loading import hash_weights
from mmfeat.encoders.neural.runtime import Runtime, resolve_devices
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:0,1"])
def test_missing_gpu_is_an_error(device):
    with pytest.raises(MmfeatError, match="torch can use 0 on this machine"):
        resolve_devices(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:0,,1", "mps"])
def test_unknown_device_is_an_error(device):
    with pytest.raises(MmfeatError, match="--device must be auto"):
        resolve_devices(device)


def test_features_are_float32_at_any_precision():
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3), torch.rand(5, 4)
    exact = model(x).detach()
    for precision, tolerance in (("float32", 1e-6), ("bfloat16", 0.05)):
        runtime = Runtime(nn.Linear(4, 3), Settings(precision=precision), lambda m, i: m(i["x"]))
        runtime.module.load_state_dict(model.state_dict())
        features = runtime.run({"x": x})
        assert features.dtype == torch.float32
        torch.testing.assert_close(features, exact, atol=tolerance, rtol=0)


def test_out_of_memory_is_the_callers_to_handle():
    def forward(module, inputs):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        Runtime(nn.Identity(), Settings(), forward).run({"x": torch.zeros(2, 1)})


def test_the_first_device_is_used(monkeypatch):
    devices = [torch.device("cpu"), torch.device("meta")]
    monkeypatch.setattr(runtime_module, "resolve_devices", lambda device: devices)
    runtime = Runtime(nn.Identity(), Settings(), lambda m, i: i["x"] + 1)
    x = torch.arange(3.0).reshape(3, 1)
    np.testing.assert_array_equal(runtime.run({"x": x}), x + 1)


def test_a_cast_copy_keeps_tied_weights_and_the_original():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    runtime = Runtime(model, Settings(), lambda m, i: m(i["x"]))
    half = runtime.at_precision("bfloat16").module
    assert half[0].weight is half[2].weight
    assert half[1].running_mean.dtype == torch.bfloat16
    assert half[1].num_batches_tracked.dtype == torch.int64
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_hash_depends_on_values_names_and_types():
    model = nn.Linear(2, 2)
    sha256 = hash_weights(model)
    assert hash_weights(model) == sha256
    assert hash_weights(nn.Sequential(model)) != sha256
    assert hash_weights(model.bfloat16()) != sha256
