"""Losses of each modality alone, beside the fused one's."""

import pytest
import torch
from torch import nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.fusion import FUSIONS
from training.data.batches import Batch
from training.fit.auxiliary import Learner, learns_each
from training.fit.device import ONE_CORE

DIMS = {"image": 6, "text": 4}


def learner(auxiliary: float, fusion: str = "gmu", dims: dict[str, int] = DIMS) -> Learner:
    torch.manual_seed(0)
    model = build_model(
        Architecture(dims, outputs=3, fusion=fusion, combination="mlp", hidden=8, dropout=0.0)
    )
    return Learner(model, auxiliary)


def batch(rows: int = 20) -> Batch:
    torch.manual_seed(1)
    present = {name: torch.ones(rows, dtype=torch.bool) for name in DIMS}
    present["text"][:5] = False
    features = {name: torch.randn(rows, dim) for name, dim in DIMS.items()}
    return Batch(features, present, torch.randint(3, (rows,)))


def loss_of(made: Learner) -> torch.Tensor:
    return made.loss(batch(), nn.functional.cross_entropy, ONE_CORE)


def test_the_loss_is_the_fused_one_and_the_mean_of_those_of_the_modalities_that_rows_have():
    made, given = learner(0.5), batch()
    made.eval()
    parts = made.model.parts(given.features, given.present)
    cross_entropy = nn.functional.cross_entropy
    image = cross_entropy(made.heads[0](parts.h[:, 0]), given.targets)
    text = cross_entropy(made.heads[1](parts.h[5:, 1]), given.targets[5:])
    expected = cross_entropy(parts.logits, given.targets) + 0.5 * (image + text) / 2
    torch.testing.assert_close(loss_of(made), expected)


def test_every_modality_learns_by_itself():
    made = learner(1.0).eval()
    own = torch.autograd.grad(loss_of(made), list(made.model.projections[1].parameters()))
    alone = learner(0.0).eval()
    fused = torch.autograd.grad(loss_of(alone), list(alone.model.projections[1].parameters()))
    assert any(not torch.allclose(a, b) for a, b in zip(own, fused, strict=True))


@pytest.mark.parametrize(("fusion", "each"), [("gmu", True), ("late", False), ("logistic", False)])
def test_only_what_is_fused_before_the_classifier_learns_each(fusion: str, each: bool):
    assert learns_each(learner(0.0, fusion).model.architecture) is each


def test_a_modality_alone_has_no_loss_beside_its_own():
    assert not learns_each(learner(0.0, "single", {"image": 6}).model.architecture)
    assert not learner(0.0).heads


def test_a_batch_in_which_no_row_has_a_modality_gives_a_loss():
    made, given = learner(1.0), batch()
    given.present["text"][:] = False
    assert made.loss(given, nn.functional.cross_entropy, ONE_CORE).isfinite()


POOLED = sorted(name for name, fusion in FUSIONS.items() if not fusion.tokens)


@pytest.mark.parametrize("fusion", [name for name in POOLED if name != "single"])
def test_what_is_trained_is_the_model_alone(fusion: str):
    made = learner(1.0, fusion)
    names = made.trained().state_dict().keys()
    assert names == build_model(made.model.architecture).state_dict().keys()
    assert len(made.heads) == 2
