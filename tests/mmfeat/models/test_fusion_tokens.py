"""Token columns: padding has no effect, and fusions that need tokens check for them."""

import pytest
import torch
from torch import nn

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import LATE, LATE_STACKED, Architecture
from mmfeat.models.build import build_model
from mmfeat.models.fusion import FUSIONS

NAMES = sorted({*FUSIONS, LATE, LATE_STACKED} - {"single"})


@pytest.mark.parametrize("fusion", NAMES)
@pytest.mark.parametrize("value", [0.0, 1e4, float("nan")])
def test_padding_has_no_effect(fusion: str, value: float) -> None:
    torch.manual_seed(0)
    dims = {"image": 5, "text": 6}
    model = build_model(Architecture(dims, 3, fusion, hidden=8, tokens={"text": 4})).eval()
    for weight in model.parameters():
        nn.init.normal_(weight)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
    text = torch.randn(4, 4, 6)
    features = {"image": torch.randn(4, 5), "text": text}
    present = {"image": torch.ones(4, dtype=torch.bool), "text": mask}
    logits, weights = model(features, present)
    padded = torch.cat([text.masked_fill(~mask[..., None], value), torch.full((4, 3, 6), value)], 1)
    padded_mask = torch.cat([mask, torch.zeros(4, 3, dtype=torch.bool)], dim=1)
    other, other_weights = model(features | {"text": padded}, present | {"text": padded_mask})
    torch.testing.assert_close(other, logits, rtol=1e-4, atol=1e-4)
    if weights is not None:
        torch.testing.assert_close(other_weights, weights)
        assert (weights[3, 1] == 0).all()


@pytest.mark.parametrize("fusion", ["co_attention", "resampler"])
def test_token_fusions_reject_pooled_vectors(fusion: str) -> None:
    with pytest.raises(MmfeatError, match=r"softmax over one key is always 1.*fusion_transformer"):
        Architecture({"image": 5, "text": 6}, 3, fusion)


def test_too_few_modalities_are_rejected() -> None:
    with pytest.raises(MmfeatError, match=r"'film' takes at least 2 modalities; got .'image'"):
        Architecture({"image": 5}, 3, "film")


def test_tokens_of_an_unknown_column_are_rejected() -> None:
    with pytest.raises(MmfeatError, match=r"tokens must name columns of the model; got .'audio'"):
        Architecture({"image": 5, "text": 6}, 3, "gmu", tokens={"audio": 4})
