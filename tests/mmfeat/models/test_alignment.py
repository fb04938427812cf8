"""The alignment model: vectors of one space, and what it says of a record's pair."""

import math

import torch

from mmfeat.models.alignment import REFERENCES, AlignmentModel, judge
from mmfeat.models.architecture import Architecture


def model(**options: object) -> AlignmentModel:
    torch.manual_seed(0)
    architecture = Architecture(
        {"image": 5, "text": 3}, outputs=2 * 4 + 3, fusion="align", hidden=4, **options
    )
    return AlignmentModel(architecture).eval()


def inputs(rows: int = 6) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    features = {"image": torch.randn(rows, 5), "text": torch.randn(rows, 3)}
    present = {name: torch.ones(rows, dtype=torch.bool) for name in features}
    return features, present


def test_vectors_have_the_length_of_the_scale_and_the_absent_are_zero() -> None:
    features, present = inputs()
    present["text"][2] = False
    features["text"][2] = torch.nan
    out = model()(features, present)[0]
    z = out[:, :8].unflatten(1, (2, 4))
    lengths = z.square().sum(dim=2)
    assert torch.allclose(lengths[[0, 1, 3]], torch.full((3, 2), 10.0))
    assert lengths[2, 1] == 0
    assert out.isfinite().all()
    assert out[2, -2:].tolist() == [0, 0]


def test_the_alignment_is_the_cosine() -> None:
    out = model(combination="linear")(*inputs())[0]
    z = out[:, :8].unflatten(1, (2, 4))
    cosine = torch.nn.functional.cosine_similarity(z[:, 0], z[:, 1], dim=1)
    assert torch.allclose(out[:, -2], cosine, atol=1e-6)


def test_the_log_ratio_by_hand() -> None:
    z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    references = torch.zeros(2, REFERENCES, 2)
    references[0, :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    references[1, 0] = torch.tensor([0.0, 1.0])
    alignment, ratio = judge(z, references, torch.tensor(0.5))
    assert alignment.tolist() == [1]
    # Own logit 2; to the text's reference exp(0); to the images' the mean of exp(2) and exp(0).
    expected = 2 - (0 + math.log((math.exp(2) + 1) / 2)) / 2
    assert math.isclose(float(ratio), expected, rel_tol=1e-6)


def test_without_references_the_log_ratio_is_zero() -> None:
    assert not model()(*inputs())[0][:, -1].any()


def test_gradients_are_finite_where_a_modality_is_absent() -> None:
    module = model().train()
    features, present = inputs()
    present["text"][:3] = False
    features["text"][:3] = torch.nan
    module(features, present)[0].square().sum().backward()
    assert all(w.grad is None or w.grad.isfinite().all() for w in module.parameters())
