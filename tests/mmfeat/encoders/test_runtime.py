import numpy as np
import pytest
import torch
from torch import nn

from mmfeat.encoders.runtime import Runtime, devices_of, weights_digest
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:0,1"])
def test_a_gpu_that_is_asked_for_and_missing_is_an_error(device):
    with pytest.raises(MmfeatError, match="this machine has 0 that torch can use"):
        devices_of(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:0,,1", "mps"])
def test_a_device_that_is_none_is_an_error(device):
    with pytest.raises(MmfeatError, match="--device must be auto"):
        devices_of(device)


def test_features_come_back_in_float32_whatever_the_precision():
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3), torch.rand(5, 4)
    exact = model(x).detach()
    for precision, tolerance in (("float32", 1e-6), ("bfloat16", 0.05)):
        runtime = Runtime(nn.Linear(4, 3), Settings(precision=precision), lambda m, i: m(i["x"]))
        runtime._modules[0].load_state_dict(model.state_dict())
        found = runtime.run({"x": x})
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact, atol=tolerance, rtol=0)


def test_memory_that_runs_out_halves_the_batch_and_keeps_the_order():
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


def test_a_single_record_that_does_not_fit_is_an_error_of_its_own():
    def forward(module, inputs):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        Runtime(nn.Identity(), Settings(), forward).run({"x": torch.zeros(2, 1)})


def test_several_devices_share_a_batch_and_the_order_stays(monkeypatch):
    from mmfeat.encoders import torch_runtime

    cpu = torch.device("cpu")
    monkeypatch.setattr(torch_runtime, "devices_of", lambda device: [cpu, cpu, cpu])
    runtime = Runtime(nn.Identity(), Settings(), lambda m, i: i["x"] + 1)
    for rows in (1, 2, 7):
        x = torch.arange(float(rows)).reshape(rows, 1)
        np.testing.assert_array_equal(runtime.run({"x": x}), x + 1)


def test_the_digest_of_weights_tells_values_names_and_types_apart():
    model = nn.Linear(2, 2)
    digest = weights_digest(model)
    assert weights_digest(model) == digest
    assert weights_digest(nn.Sequential(model)) != digest
    assert weights_digest(model.bfloat16()) != digest
