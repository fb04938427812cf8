"""Every fusion with every combination, and what each combination computes."""

import pytest
import torch

from mmfeat.models.architecture import LATE, LATE_STACKED, Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS

DIMS = {"image": 5, "text": 6, "audio": 7}
NAMES = sorted({*FUSIONS, LATE, LATE_STACKED})


def model_of(fusion: str, combination: str, modalities: int, seed: int = 0) -> Model:
    dims = dict(list(DIMS.items())[: 1 if fusion == "single" else modalities])
    tokens = {"image": 3} if fusion in FUSIONS and FUSIONS[fusion].tokens else {}
    torch.manual_seed(seed)
    return build_model(Architecture(dims, 4, fusion, combination, hidden=8, tokens=tokens))


def rows_of(model: Model):
    """Rows of which some lack some modalities, and one all, with NaN where nothing is."""
    g = torch.Generator().manual_seed(1)
    features, present = {}, {}
    for column, dim in model.architecture.dims.items():
        shape = (12, 3) if column in model.architecture.tokens else (12,)
        there = torch.rand(shape, generator=g) < 0.6
        there[0], there[1] = True, False
        x = torch.randn(*shape, dim, generator=g)
        features[column], present[column] = x.masked_fill(~there[..., None], torch.nan), there
    return features, present


@pytest.mark.parametrize("combination", sorted(COMBINATIONS))
@pytest.mark.parametrize("fusion", NAMES)
@pytest.mark.parametrize("modalities", [2, 3])
def test_it_runs_forward_and_backward_and_is_its_weights(
    fusion: str, combination: str, modalities: int
) -> None:
    model = model_of(fusion, combination, modalities).train()
    features, present = rows_of(model)
    logits, _ = model(features, present)
    assert logits.shape == (12, 4)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is None or weight.grad.isfinite().all(), name
    other = model_of(fusion, combination, modalities, seed=5).eval()
    other.load_state_dict(model.state_dict())
    ours, theirs = model.eval()(features, present), other(features, present)
    assert torch.equal(ours[0], theirs[0])
    # A record alone is judged as it is among others.
    alone = {c: x[:1] for c, x in features.items()}, {c: x[:1] for c, x in present.items()}
    torch.testing.assert_close(model(*alone)[0], ours[0][:1], rtol=1e-4, atol=1e-5)


def test_linear_and_add_are_their_equations() -> None:
    x, h = torch.randn(3, 8), torch.randn(3, 2, 8)
    assert torch.equal(COMBINATIONS["linear"](8, 8, 0.0)(x, h), x)
    torch.testing.assert_close(COMBINATIONS["add"](8, 8, 0.0)(x, h), x + h[:, 0] + h[:, 1])


def test_add_maps_a_vector_of_another_length() -> None:
    add, x, h = COMBINATIONS["add"](5, 8, 0.0), torch.randn(3, 5), torch.randn(3, 2, 8)
    torch.testing.assert_close(add(x, h), add.dense(x) + h.sum(dim=1))


def test_bilinear_is_quadratic() -> None:
    torch.manual_seed(0)
    bilinear, x, h = COMBINATIONS["bilinear"](5, 8, 0.0), torch.randn(3, 5), torch.randn(3, 2, 8)
    at = [bilinear(t * x, h) for t in range(4)]
    third = at[3] - 3 * at[2] + 3 * at[1] - at[0]
    torch.testing.assert_close(third, torch.zeros(3, 8), atol=1e-5, rtol=0)


def test_late_is_the_mean_over_the_present_and_stacking_starts_there() -> None:
    late, stacked = (model_of(name, "mlp", 2).eval() for name in (LATE, LATE_STACKED))
    stacked.load_state_dict(late.state_dict(), strict=False)
    features = {"image": torch.randn(6, 5), "text": torch.randn(6, 6)}
    there, gone = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    both = late(features, {"image": there, "text": there})[0]
    image = late(features, {"image": there, "text": gone})[0]
    text = late(features, {"image": gone, "text": there})[0]
    torch.testing.assert_close(both, (image + text) / 2)
    torch.testing.assert_close(stacked(features, {"image": there, "text": there})[0], both)
