"""What holds for every fusion, and the published numbers of the gated one."""

import pytest
import torch
from torch import Tensor

from mmfeat.models.fusion import FUSIONS, GatedMultimodalUnit
from mmfeat.models.fusion.base import softmax_over_present

MULTIMODAL = sorted(set(FUSIONS) - {"single"})


def mask_of(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def gmu(modalities: int, dim: int) -> GatedMultimodalUnit:
    """A unit whose gate is not even, in float64."""
    unit = GatedMultimodalUnit(modalities, dim).double()
    torch.nn.init.normal_(unit.gate.weight, std=4.0)
    return unit


def test_gmu_gives_the_hand_computed_values() -> None:
    # x_v = 1, x_t = -2, W_v = .5, W_t = 1, W_z = [1, .5] on x, which is [2, .5] on h = W x.
    unit = GatedMultimodalUnit(modalities=2, dim=1).double()
    with torch.no_grad():
        unit.gate.weight.copy_(torch.tensor([[2.0, 0.5]]) * unit.gate.in_features)
    x_v = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    h = torch.stack([0.5 * x_v, torch.tensor(-2.0, dtype=torch.float64)]).reshape(1, 2, 1)
    x, weights = unit(h, mask_of([1, 1]))
    (gradient,) = torch.autograd.grad(x.sum(), x_v)
    torch.testing.assert_close(weights, torch.full((1, 2), 0.5, dtype=torch.float64))
    assert x.item() == pytest.approx(-0.2509552114, abs=1e-10)
    assert gradient.item() == pytest.approx(0.5531481176, abs=1e-10)


def test_gmu_is_symmetric_under_a_swap_of_modalities() -> None:
    unit, swapped = gmu(2, 5), gmu(2, 5)
    with torch.no_grad():
        first, second = unit.gate.weight.split(5, dim=1)
        swapped.gate.weight.copy_(-torch.cat([second, first], dim=1))  # z becomes 1 - z
    h = torch.randn(7, 2, 5, dtype=torch.float64)
    mask = mask_of(*[[1, 1]] * 5, [1, 0], [0, 1])
    x, weights = unit(h, mask)
    other_x, other_weights = swapped(h.flip(1), mask.flip(1))
    torch.testing.assert_close(x, other_x)
    torch.testing.assert_close(weights, other_weights.flip(1))
    assert weights[:5].std() > 0.01


def test_gmu_starts_from_the_mean_of_what_is_present() -> None:
    h = torch.randn(2, 3, 4)
    x, _ = GatedMultimodalUnit(3, 4)(h, mask_of([1, 1, 1], [1, 0, 1]))
    torch.testing.assert_close(x[0], h[0].tanh().mean(dim=0))
    torch.testing.assert_close(x[1], h[1, [0, 2]].tanh().mean(dim=0))


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_gmu_weights_sum_to_one_over_the_present_and_are_zero_elsewhere(modalities: int) -> None:
    mask = torch.rand(64, modalities) < 0.5
    mask[:, 0] |= ~mask.any(dim=1)
    _, weights = gmu(modalities, 6)(torch.randn(64, modalities, 6).double(), mask)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(64, dtype=torch.float64))
    assert weights[mask.all(dim=1)].std() > 0.01
    assert (weights[~mask] == 0).all()


@pytest.mark.parametrize("name", MULTIMODAL)
@pytest.mark.parametrize("modalities", [2, 3])
def test_gradients_are_those_of_the_equation(name: str, modalities: int) -> None:
    fusion = FUSIONS[name](modalities, 3).double()
    for weight in fusion.parameters():
        torch.nn.init.normal_(weight, std=4.0)
    h = torch.randn(4, modalities, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(4, modalities, dtype=torch.bool)
    mask[0, 0] = False
    assert torch.autograd.gradcheck(lambda h: fusion(h, mask).x, (h,))


@pytest.mark.parametrize("name", MULTIMODAL)
def test_the_fused_vector_has_the_length_the_fusion_says(name: str) -> None:
    fusion = FUSIONS[name](3, 8)
    x, _ = fusion(torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool))
    assert x.shape == (2, fusion.out_dim)


def test_sum_and_concat_are_what_their_names_say() -> None:
    h = torch.randn(5, 2, 3)
    mask = torch.ones(5, 2, dtype=torch.bool)
    torch.testing.assert_close(FUSIONS["sum"](2, 3)(h, mask).x, h[:, 0] + h[:, 1])
    joined = torch.cat([h[:, 0], h[:, 1]], dim=1)
    torch.testing.assert_close(FUSIONS["concat"](2, 3)(h, mask).x, joined)


def test_a_row_with_nothing_at_all_stays_finite() -> None:
    weights = softmax_over_present(torch.randn(1, 3, 4), mask_of([0, 0, 0]))
    assert weights.isfinite().all()
