"""Auxiliary losses."""

import pytest
import torch
from torch import nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.fusion import FUSIONS
from training.data.resident import Batch
from training.fit.auxiliary import ModelWithAuxiliaryLosses, supports_auxiliary_losses
from training.fit.device import CPU_FLOAT32

DIMS = {"image": 6, "text": 4}


def build(
    auxiliary: float, fusion: str = "gmu", dims: dict[str, int] = DIMS
) -> ModelWithAuxiliaryLosses:
    torch.manual_seed(0)
    architecture = Architecture(
        dims, outputs=3, fusion=fusion, combination="mlp", hidden=8, dropout=0.0
    )
    return ModelWithAuxiliaryLosses(build_model(architecture), auxiliary)


def make_batch(rows: int = 20) -> Batch:
    torch.manual_seed(1)
    present = {name: torch.ones(rows, dtype=torch.bool) for name in DIMS}
    present["text"][:5] = False
    features = {name: torch.randn(rows, dim) for name, dim in DIMS.items()}
    return Batch(features, present, torch.randint(3, (rows,)))


def loss_of(module: ModelWithAuxiliaryLosses) -> torch.Tensor:
    return module.loss(make_batch(), nn.functional.cross_entropy, CPU_FLOAT32)


def test_the_loss_is_the_fused_loss_plus_the_mean_auxiliary_loss() -> None:
    module, batch = build(0.5), make_batch()
    module.eval()
    output = module.model.forward_all(batch.features, batch.present)
    cross_entropy = nn.functional.cross_entropy
    image = cross_entropy(module.heads[0](output.h[:, 0]), batch.targets)
    text = cross_entropy(module.heads[1](output.h[5:, 1]), batch.targets[5:])
    expected = cross_entropy(output.logits, batch.targets) + 0.5 * (image + text) / 2
    torch.testing.assert_close(loss_of(module), expected)


def test_auxiliary_losses_change_the_gradient_of_each_projection() -> None:
    with_losses, without = build(1.0).eval(), build(0.0).eval()
    for number in range(2):
        gradients = (
            torch.autograd.grad(loss_of(m), list(m.model.projections[number].parameters()))
            for m in (with_losses, without)
        )
        assert any(not torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("fusion", "supported"), [("gmu", True), ("late", False), ("logistic", False)]
)
def test_only_fusions_support_auxiliary_losses(fusion: str, supported: bool) -> None:
    assert supports_auxiliary_losses(build(0.0, fusion).model.architecture) is supported


def test_one_modality_has_no_auxiliary_losses() -> None:
    assert not supports_auxiliary_losses(build(0.0, "single", {"image": 6}).model.architecture)
    assert not build(0.0).heads


def test_a_batch_without_a_modality_has_a_finite_loss() -> None:
    module, batch = build(1.0), make_batch()
    batch.present["text"][:] = False
    assert module.loss(batch, nn.functional.cross_entropy, CPU_FLOAT32).isfinite()


POOLED = sorted(name for name, fusion in FUSIONS.items() if not fusion.takes_tokens)


@pytest.mark.parametrize("fusion", [name for name in POOLED if name != "single"])
def test_a_copied_model_has_no_heads(fusion: str) -> None:
    module = build(1.0, fusion)
    names = module.copy_model().state_dict().keys()
    assert names == build_model(module.model.architecture).state_dict().keys()
    assert len(module.heads) == 2
