"""A kernel model: its equation, missing columns, and the way to the disk and back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import KERNEL, Architecture
from mmfeat.models.linear import KernelModel, squared_distances
from mmfeat.models.saved_model import layers_to_config, restore_model
from mmfeat.models.saved_model.layers import architecture_from_config
from tests.mmfeat.models.test_saved_model import COLUMNS

ARCHITECTURE = Architecture(
    {column.name: column.dim for column in COLUMNS}, outputs=3, fusion=KERNEL, support=5
)


def make_model() -> KernelModel:
    torch.manual_seed(0)
    model = KernelModel(ARCHITECTURE)
    with torch.no_grad():
        for support in model.support:
            support.copy_(torch.nn.functional.normalize(torch.randn(support.shape)))
        model.support[0][1] = 0
        model.absent[1, 0] = 1
        model.weights.copy_(torch.randn(5, 3))
        model.bias.copy_(torch.randn(3))
        model.gamma.fill_(0.7)
    return model.eval()


def test_logits_are_those_of_the_equation() -> None:
    model = make_model()
    names = list(ARCHITECTURE.dims)
    features = {name: torch.randn(4, ARCHITECTURE.dims[name]) for name in names}
    present = {name: torch.tensor([True, True, n > 0, True]) for n, name in enumerate(names)}
    logits, weights = model(features, present)
    assert weights is None
    for row in range(4):
        kernel = []
        for i in range(5):
            distance = 0.0
            for number, name in enumerate(names):
                x = features[name][row].detach().numpy().astype(float)
                x = x / np.linalg.norm(x) if present[name][row] else 0 * x
                z = model.support[number][i].numpy()
                distance += float(np.square(x - z).sum())
                distance += bool(present[name][row]) == bool(model.absent[i, number])
            kernel.append(np.exp(-0.7 * distance))
        expected = np.array(kernel) @ model.weights.detach().numpy() + model.bias.detach().numpy()
        np.testing.assert_allclose(logits[row].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_distances_of_a_row_to_itself_are_zero() -> None:
    present = torch.ones(6, 1, dtype=torch.bool)
    x = torch.nn.functional.normalize(torch.randn(6, 300))
    distances = squared_distances([(x, present)], [(x, present)])
    assert (distances >= 0).all()
    assert distances.diagonal().max() < 1e-5


def test_a_saved_model_has_its_support() -> None:
    model = make_model()
    config = layers_to_config(ARCHITECTURE)
    assert architecture_from_config(config, COLUMNS, 3) == ARCHITECTURE
    state = {name: value.clone() for name, value in model.state_dict().items()}
    restored = restore_model(ARCHITECTURE, state, "model.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in restored.state_dict().items())


@pytest.mark.parametrize("support", [0, -1, 1 << 20])
def test_impossible_numbers_of_support_rows_are_refused(support: int) -> None:
    with pytest.raises(MmfeatError, match="support rows"):
        replace(ARCHITECTURE, support=support)


def test_weights_of_another_support_are_refused() -> None:
    state = dict(make_model().state_dict())
    with pytest.raises(MmfeatError, match="must be those of the layers"):
        restore_model(replace(ARCHITECTURE, support=6), state, "model.safetensors")
