"""The alignment model: vectors of one space, and the scores of a record's pair."""

import math

import torch

from mmfeat.models.alignment import MAX_REFERENCES, AlignmentModel, score_alignment
from mmfeat.models.architecture import Architecture


def make_model(**layers: object) -> AlignmentModel:
    torch.manual_seed(0)
    architecture = Architecture(
        {"image": 5, "text": 3}, outputs=2 * 4 + 3, fusion="align", hidden=4, **layers
    )
    return AlignmentModel(architecture).eval()


def make_inputs(rows: int = 6) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    features = {"image": torch.randn(rows, 5), "text": torch.randn(rows, 3)}
    present = {name: torch.ones(rows, dtype=torch.bool) for name in features}
    return features, present


def test_vectors_have_the_scaled_length_or_are_zero() -> None:
    features, present = make_inputs()
    present["text"][2] = False
    features["text"][2] = torch.nan
    out = make_model()(features, present)[0]
    z = out[:, :8].unflatten(1, (2, 4))
    lengths = z.square().sum(dim=2)
    assert torch.allclose(lengths[[0, 1, 3]], torch.full((3, 2), 10.0))
    assert lengths[2, 1] == 0
    assert out.isfinite().all()
    assert out[2, -2:].tolist() == [0, 0]


def test_alignment_is_the_cosine() -> None:
    out = make_model(combination="linear")(*make_inputs())[0]
    z = out[:, :8].unflatten(1, (2, 4))
    cosine = torch.nn.functional.cosine_similarity(z[:, 0], z[:, 1], dim=1)
    assert torch.allclose(out[:, -2], cosine, atol=1e-6)


def test_log_ratio_by_hand() -> None:
    z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    references = torch.zeros(2, MAX_REFERENCES, 2)
    references[0, :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    references[1, 0] = torch.tensor([0.0, 1.0])
    alignment, ratio = score_alignment(z, references, torch.tensor(0.5))
    assert alignment.tolist() == [1]
    # Own logit 2; with the text reference exp(0); with the image references the mean of exp(2) and
    # exp(0).
    expected = 2 - (0 + math.log((math.exp(2) + 1) / 2)) / 2
    assert math.isclose(float(ratio), expected, rel_tol=1e-6)


def test_log_ratio_without_references_is_zero() -> None:
    assert not make_model()(*make_inputs())[0][:, -1].any()


def test_gradients_are_finite_if_a_modality_is_absent() -> None:
    module = make_model().train()
    features, present = make_inputs()
    present["text"][:3] = False
    features["text"][:3] = torch.nan
    module(features, present)[0].square().sum().backward()
    assert all(w.grad is None or w.grad.isfinite().all() for w in module.parameters())
