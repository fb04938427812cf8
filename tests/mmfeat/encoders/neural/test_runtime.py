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
        runtime.modules[0].load_state_dict(model.state_dict())
        features = runtime.run({"x": x})
        assert features.dtype == torch.float32
        torch.testing.assert_close(features, exact, atol=tolerance, rtol=0)


def test_out_of_memory_halves_the_batch_and_keeps_the_order():
    sizes = []

    def forward(module, inputs):
        sizes.append(len(inputs["x"]))
        if len(inputs["x"]) > 3:
            raise torch.OutOfMemoryError("too much")
        return inputs["x"] * 2

    runtime = Runtime(nn.Identity(), Settings(), forward)
    x = torch.arange(10.0).reshape(10, 1)
    np.testing.assert_array_equal(runtime.run({"x": x}), x * 2)
    assert sizes[0] == 10
    assert sizes == [10, 5, 3, 2, 5, 3, 2]


def test_single_record_that_does_not_fit_is_an_error():
    def forward(module, inputs):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        Runtime(nn.Identity(), Settings(), forward).run({"x": torch.zeros(2, 1)})


def test_devices_share_a_batch_and_keep_the_order(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(runtime_module, "resolve_devices", lambda device: [cpu, cpu, cpu])
    runtime = Runtime(nn.Identity(), Settings(), lambda m, i: i["x"] + 1)
    for rows in (1, 2, 7):
        x = torch.arange(float(rows)).reshape(rows, 1)
        np.testing.assert_array_equal(runtime.run({"x": x}), x + 1)


def test_hash_depends_on_values_names_and_types():
    model = nn.Linear(2, 2)
    sha256 = hash_weights(model)
    assert hash_weights(model) == sha256
    assert hash_weights(nn.Sequential(model)) != sha256
    assert hash_weights(model.bfloat16()) != sha256
