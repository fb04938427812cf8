"""Properties of every fusion, and values computed by hand."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from mmfeat.models.fusion import FUSIONS, Fusion, FusionOutput
from mmfeat.models.fusion.attention import Attention
from mmfeat.models.fusion.base import mean_of_others, softmax_over_present
from mmfeat.models.fusion.bilinear import MfbFusion
from mmfeat.models.fusion.weighted import GatedMultimodalUnit

MULTIMODAL = sorted(set(FUSIONS) - {"single"})
POOLED = [name for name in MULTIMODAL if not FUSIONS[name].takes_tokens]
WEIGHTED = [name for name in POOLED if FUSIONS[name].has_weights]


def mask_of(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def randomized(name: str, modalities: int, dim: int) -> Fusion:
    """Return the fusion in float64 with random parameters."""
    torch.manual_seed(0)
    fusion = FUSIONS[name](modalities, dim).double()
    for weight in fusion.parameters():
        nn.init.normal_(weight)
    return fusion


def fuse(fusion: Fusion, h: Tensor, mask: Tensor) -> FusionOutput:
    """Call the fusion; a token fusion gets each vector twice, the second time as padding."""
    if not fusion.takes_tokens:
        return fusion(h, mask)
    sequences = [torch.stack([part, part], dim=1) for part in h.unbind(dim=1)]
    masks = [torch.stack([part, torch.zeros_like(part)], dim=1) for part in mask.unbind(dim=1)]
    return fusion(sequences, masks)


def swap_parameters(fusion: Fusion) -> None:
    """Swap the parameters of the first two modalities."""
    for part in fusion.children():
        if isinstance(part, nn.ModuleList) and len(part) == fusion.modalities:
            part[0], part[1] = part[1], part[0]


def test_gmu_by_hand() -> None:
    # x_v = 1, x_t = -2, W_v = .5, W_t = 1, W_z = [1, .5] on x, which is [2, .5] on h = W x.
    unit = GatedMultimodalUnit(modalities=2, dim=1).double()
    with torch.no_grad():
        unit.gate.weight.copy_(torch.tensor([[2.0, 0.5]]) / unit.scale)
    x_v = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    h = torch.stack([0.5 * x_v, torch.tensor(-2.0, dtype=torch.float64)]).reshape(1, 2, 1)
    x, weights = unit(h, mask_of([1, 1]))
    (gradient,) = torch.autograd.grad(x.sum(), x_v)
    torch.testing.assert_close(weights, torch.full((1, 2), 0.5, dtype=torch.float64))
    assert x.item() == pytest.approx(-0.2509552114, abs=1e-7)
    assert gradient.item() == pytest.approx(0.5531481176, abs=1e-7)


def test_seed_literal_by_hand() -> None:
    fusion = FUSIONS["seed_literal"](2, 2).double()
    with torch.no_grad():
        fusion.gate.weight.zero_()
        fusion.gate.bias.copy_(torch.tensor([1.0, 3.0]).log())
    h = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=torch.float64)
    torch.testing.assert_close(fusion(h, mask_of([1, 1])).x[0].tolist(), [2.5, 2.5])


def test_gmu_is_symmetric() -> None:
    unit, other = (randomized("gmu", 2, 5) for _ in range(2))
    with torch.no_grad():
        first, second = unit.gate.weight.split(5, dim=1)
        other.gate.weight.copy_(-torch.cat([second, first], dim=1))  # z becomes 1 - z
    h = torch.randn(7, 2, 5, dtype=torch.float64)
    mask = mask_of(*[[1, 1]] * 5, [1, 0], [0, 1])
    x, weights = unit(h, mask)
    other_x, other_weights = other(h.flip(1), mask.flip(1))
    torch.testing.assert_close(x, other_x)
    torch.testing.assert_close(weights, other_weights.flip(1))
    assert weights[:5].std() > 0.01


@pytest.mark.parametrize(
    "name",
    "align_hadamard cross fusion_transformer hadamard lmf mfb mlb mod_scalar sum".split(),
)
def test_swapping_modalities_and_parameters_has_no_effect(name: str) -> None:
    fusion, other = (randomized(name, 3, 8) for _ in range(2))
    if name != "fusion_transformer":  # has no parameters per modality
        swap_parameters(other)
    h = torch.randn(9, 3, 8, dtype=torch.float64)
    mask = mask_of(*[[1, 1, 1]] * 4, [1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0])
    order = [1, 0, 2]
    result, swapped = fusion(h, mask), other(h[:, order], mask[:, order])
    torch.testing.assert_close(result.x, swapped.x)
    if result.weights is not None:
        torch.testing.assert_close(result.weights, swapped.weights[:, order])


def test_gmu_starts_as_the_mean_of_present_modalities() -> None:
    h = torch.randn(2, 3, 4)
    x, _ = GatedMultimodalUnit(3, 4)(h, mask_of([1, 1, 1], [1, 0, 1]))
    torch.testing.assert_close(x[0], h[0].tanh().mean(dim=0))
    torch.testing.assert_close(x[1], h[1, [0, 2]].tanh().mean(dim=0))


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_weights_are_a_distribution_over_present_modalities(name: str, modalities: int) -> None:
    mask = torch.rand(64, modalities) < 0.5
    mask[:, 0] |= ~mask.any(dim=1)
    _, weights = randomized(name, modalities, 6)(torch.randn(64, modalities, 6).double(), mask)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(64, dtype=torch.float64))
    assert (weights[~mask] == 0).all()
    assert (weights >= 0).all()


@pytest.mark.parametrize("name", MULTIMODAL)
def test_has_weights_matches_the_output(name: str) -> None:
    h, mask = torch.randn(3, 2, 8).double(), torch.ones(3, 2, dtype=torch.bool)
    assert (fuse(randomized(name, 2, 8), h, mask).weights is not None) == FUSIONS[name].has_weights


@pytest.mark.parametrize("name", MULTIMODAL)
@pytest.mark.parametrize("modalities", [2, 3])
def test_gradients_are_correct(name: str, modalities: int) -> None:
    fusion = randomized(name, modalities, 3)
    h = torch.randn(4, modalities, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(4, modalities, dtype=torch.bool)
    mask[0, 0] = False
    assert torch.autograd.gradcheck(lambda h: fuse(fusion, h, mask).x, (h,))


@pytest.mark.parametrize("name", MULTIMODAL)
def test_fused_vector_has_out_dim(name: str) -> None:
    for dim in (8, 64):
        fusion = FUSIONS[name](3, dim)
        x = fuse(fusion, torch.randn(2, 3, dim), torch.ones(2, 3, dtype=torch.bool)).x
        assert x.shape == (2, fusion.out_dim)


def test_elementwise_fusions_follow_their_equations() -> None:
    h = torch.randn(5, 2, 3)
    mask = torch.ones(5, 2, dtype=torch.bool)
    torch.testing.assert_close(FUSIONS["sum"](2, 3)(h, mask).x, h[:, 0] + h[:, 1])
    joined, product = torch.cat([h[:, 0], h[:, 1]], dim=1), h[:, 0] * h[:, 1]
    torch.testing.assert_close(FUSIONS["concat"](2, 3)(h, mask).x, joined)
    torch.testing.assert_close(FUSIONS["hadamard"](2, 3)(h, mask).x, product)
    both = torch.cat([joined, product], dim=1)
    torch.testing.assert_close(FUSIONS["concat_had"](2, 3)(h, mask).x, both)


@pytest.mark.parametrize("name", ["align_hadamard", "mlb", "mfb"])
def test_an_absent_factor_is_neutral(name: str) -> None:
    fusion, h = randomized(name, 3, 4), torch.randn(2, 3, 4).double()
    absent = mask_of([1, 1, 0], [1, 1, 0])
    x = fusion(h, absent).x
    h[:, 2] = torch.randn(2, 4)
    torch.testing.assert_close(fusion(h, absent).x, x)
    assert not torch.allclose(fusion(h, mask_of([1, 1, 1], [1, 1, 1])).x, x)


def test_lmf_is_tfn_with_factored_weights() -> None:
    lmf, tfn = randomized("lmf", 2, 3), randomized("tfn", 2, 3)
    h, mask = torch.randn(6, 2, 3).double(), torch.ones(6, 2, dtype=torch.bool)
    full = [  # W_m^r beside its bias, shape [rank, d out, d + 1]
        torch.cat([w.weight, w.bias[:, None]], dim=1).unflatten(0, (lmf.rank, 3))
        for w in lmf.factors
    ]
    weight = torch.einsum("roi,roj->oij", *full).flatten(1)
    torch.testing.assert_close(lmf(h, mask).x, tfn(h, mask).x @ weight.T)


def test_mfb_of_one_term_unnormalized_is_the_product_of_linear_maps() -> None:
    mfb = MfbFusion(2, 4, k=1, normalize=False)
    h, mask = torch.randn(6, 2, 4), torch.ones(6, 2, dtype=torch.bool)
    mapped = torch.stack([u(h[:, m]) for m, u in enumerate(mfb.factors)], dim=1)
    torch.testing.assert_close(mfb(h, mask).x, FUSIONS["hadamard"](2, 4)(mapped, mask).x)


@pytest.mark.parametrize("modalities", [2, 3, 5, 10])
def test_outer_product_is_bounded(modalities: int) -> None:
    assert FUSIONS["tfn"](modalities, 256).out_dim <= 1024


def test_attention_over_one_key_ignores_the_query() -> None:
    attention, key = Attention(8), torch.randn(5, 1, 8)
    mask = torch.ones(5, 1, dtype=torch.bool)
    outs = [attention(torch.randn(5, 2, 8), key, mask) for _ in range(3)]
    for first, second in pairwise(outs):
        torch.testing.assert_close(first, second)


def test_attention_over_no_key_is_zero() -> None:
    mask = mask_of([0, 0], [1, 0])
    out = Attention(8)(torch.randn(2, 3, 8), torch.randn(2, 2, 8), mask)
    assert (out[0] == 0).all()
    assert (out[1] != 0).any()


def test_mean_of_others_excludes_itself_and_absent_ones() -> None:
    values = torch.tensor([[[1.0], [2.0], [4.0]], [[1.0], [2.0], [4.0]]])
    means = mean_of_others(values, mask_of([1, 1, 1], [1, 0, 0])).squeeze(2)
    torch.testing.assert_close(means, torch.tensor([[3.0, 2.5, 1.5], [0.0, 1.0, 1.0]]))


def test_a_row_without_modalities_stays_finite() -> None:
    weights = softmax_over_present(torch.randn(1, 3, 4), mask_of([0, 0, 0]))
    assert weights.isfinite().all()
