"""Every fusion with every combination, and the values of each combination."""

import pytest
import torch

from mmfeat.models.architecture import LATE, LATE_STACKED, Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS

DIMS = {"image": 5, "text": 6, "audio": 7}
NAMES = sorted({*FUSIONS, LATE, LATE_STACKED})


def make_model(fusion: str, combination: str, modalities: int, seed: int = 0) -> Model:
    dims = dict(list(DIMS.items())[: 1 if fusion == "single" else modalities])
    tokens = {"image": 3} if fusion in FUSIONS and FUSIONS[fusion].takes_tokens else {}
    torch.manual_seed(seed)
    return build_model(Architecture(dims, 4, fusion, combination, hidden=8, tokens=tokens))


def make_inputs(model: Model):
    """Return rows with absent modalities as NaN; row 0 lacks none, row 1 lacks all."""
    g = torch.Generator().manual_seed(1)
    features, present = {}, {}
    for column, dim in model.architecture.dims.items():
        shape = (12, 3) if column in model.architecture.tokens else (12,)
        mask = torch.rand(shape, generator=g) < 0.6
        mask[0], mask[1] = True, False
        x = torch.randn(*shape, dim, generator=g)
        features[column], present[column] = x.masked_fill(~mask[..., None], torch.nan), mask
    return features, present


@pytest.mark.parametrize("combination", sorted(COMBINATIONS))
@pytest.mark.parametrize("fusion", NAMES)
@pytest.mark.parametrize("modalities", [2, 3])
def test_forward_backward_and_state_dict(fusion: str, combination: str, modalities: int) -> None:
    model = make_model(fusion, combination, modalities).train()
    features, present = make_inputs(model)
    logits, _ = model(features, present)
    assert logits.shape == (12, 4)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is None or weight.grad.isfinite().all(), name
    other = make_model(fusion, combination, modalities, seed=5).eval()
    other.load_state_dict(model.state_dict())
    expected = model.eval()(features, present)[0]
    assert torch.equal(expected, other(features, present)[0])
    # A record gets the same logits alone and in a batch.
    alone = {c: x[:1] for c, x in features.items()}, {c: x[:1] for c, x in present.items()}
    torch.testing.assert_close(model(*alone)[0], expected[:1], rtol=1e-4, atol=1e-5)


def test_linear_and_add_follow_their_equations() -> None:
    x, h = torch.randn(3, 8), torch.randn(3, 2, 8)
    assert torch.equal(COMBINATIONS["linear"](8, 8, 0.0)(x, h), x)
    torch.testing.assert_close(COMBINATIONS["add"](8, 8, 0.0)(x, h), x + h[:, 0] + h[:, 1])


def test_add_maps_a_vector_of_another_length() -> None:
    add, x, h = COMBINATIONS["add"](5, 8, 0.0), torch.randn(3, 5), torch.randn(3, 2, 8)
    torch.testing.assert_close(add(x, h), add.dense(x) + h.sum(dim=1))


def test_bilinear_is_quadratic() -> None:
    torch.manual_seed(0)
    bilinear, x, h = COMBINATIONS["bilinear"](5, 8, 0.0), torch.randn(3, 5), torch.randn(3, 2, 8)
    values = [bilinear(t * x, h) for t in range(4)]
    third_difference = values[3] - 3 * values[2] + 3 * values[1] - values[0]
    torch.testing.assert_close(third_difference, torch.zeros(3, 8), atol=1e-5, rtol=0)


def test_late_is_the_mean_and_stacking_starts_as_the_mean() -> None:
    late, stacked = (make_model(name, "mlp", 2).eval() for name in (LATE, LATE_STACKED))
    stacked.load_state_dict(late.state_dict(), strict=False)
    features = {"image": torch.randn(6, 5), "text": torch.randn(6, 6)}
    present, absent = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    both = late(features, {"image": present, "text": present})[0]
    image = late(features, {"image": present, "text": absent})[0]
    text = late(features, {"image": absent, "text": present})[0]
    torch.testing.assert_close(both, (image + text) / 2)
    torch.testing.assert_close(stacked(features, {"image": present, "text": present})[0], both)
