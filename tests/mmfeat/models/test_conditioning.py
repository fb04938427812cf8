"""Input conditioning computes what it documents, and refuses impossible sizes."""

import numpy as np
import pytest
import torch

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.conditioning import InputConditioning, parse_conditioning

X = torch.tensor([[3.0, 4.0, 0.0], [1.0, 2.0, 2.0]])
MEAN, SCALE = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0.5, 2.0, 1.0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("center", [[2, 2, 0], [0, 0, 2]]),
        ("standardize", [[1, 4, 0], [0, 0, 2]]),
        ("l2", [[1 / 17**0.5, 4 / 17**0.5, 0], [0, 0, 1]]),
    ],
)
def test_values_by_hand(text: str, expected: list[list[float]]) -> None:
    module = InputConditioning(3, text)
    module.mean.copy_(MEAN)
    if text != "center":
        module.scale.copy_(SCALE)
    np.testing.assert_allclose(module(X), expected, rtol=1e-6)


def test_a_projection_subtracts_its_offset() -> None:
    module = InputConditioning(3, "pca:2")
    module.basis.copy_(torch.eye(3)[:, :2])
    module.offset.copy_(torch.tensor([0.1, 0.2]))
    np.testing.assert_allclose(module(X)[0], [0.6 - 0.1, 0.8 - 0.2], rtol=1e-6)
    assert (module.text, module.out_dim) == ("pca:2", 2)


@pytest.mark.parametrize(
    "text",
    [
        "pca",
        "pca:0",
        "pca:4",
        "pca:" + "9" * 5000,
        "pca:²",
        "l2:3",
        "whiten",
        "",
        "pca:-1",
        "pca:2.0",
    ],
)
def test_impossible_conditionings_are_refused(text: str) -> None:
    with pytest.raises(MmfeatError):
        parse_conditioning(text, 3)


def test_a_conditioned_model_does_not_train_its_conditioning() -> None:
    architecture = Architecture(
        {"image": 3, "text": 5}, outputs=2, hidden=4, conditioning={"text": "pca:2"}
    )
    model = build_model(architecture)
    assert not any("conditioning" in name for name, _ in model.named_parameters())
    assert "projections.1.conditioning.basis" in model.state_dict()


@pytest.mark.parametrize("fusion", ["logistic", "ridge"])
def test_linear_models_take_no_conditioning(fusion: str) -> None:
    with pytest.raises(MmfeatError, match="conditions its features itself"):
        Architecture({"image": 3}, outputs=2, fusion=fusion, conditioning={"image": "l2"})


def test_conditioning_names_columns() -> None:
    with pytest.raises(MmfeatError, match="columns of the model"):
        Architecture({"image": 3, "text": 3}, outputs=2, conditioning={"sound": "l2"})
