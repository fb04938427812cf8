"""Loss functions against values computed by hand."""

import numpy as np
import pytest
import torch

from training.objectives.imbalance import MAX_POS_WEIGHT
from training.objectives.losses import MulticlassLoss, MultilabelLoss, infonce_loss, siglip_loss
from training.recipe import AdamWRecipe


def make_recipe(imbalance: str, *prior: float) -> AdamWRecipe:
    return AdamWRecipe(
        metric="", seed=0, epochs=1, lr=0.01, weight_decay=0.0, batch_size=1, patience=1,
        imbalance=imbalance, prior=prior,
    )  # fmt: skip


@pytest.mark.parametrize("imbalance", ["none", "logit_adjustment", "focal"])
def test_multiclass_loss_by_hand(imbalance: str) -> None:
    loss = MulticlassLoss(make_recipe(imbalance, 0.9, 0.1))
    p = 1 / (1 + np.e)  # of class 1 by the logits (1, 0)
    adjusted = np.array([1 + np.log(0.9), np.log(0.1)])
    expected = {
        "none": -np.log(p),
        "logit_adjustment": np.log(np.exp(adjusted).sum()) - adjusted[1],
        "focal": -((1 - p) ** 2) * np.log(p),
    }
    value = float(loss(torch.tensor([[1.0, 0.0]]), torch.tensor([1])))
    assert value == pytest.approx(expected[imbalance])


def test_class_weights_weight_classes_equally() -> None:
    loss = MulticlassLoss(make_recipe("class_weights", 0.9, 0.1))
    logits, targets = torch.tensor([[1.0, 0.0]]).repeat(10, 1), torch.tensor([0] * 9 + [1])
    p = 1 / (1 + np.e)
    assert float(loss(logits, targets)) == pytest.approx(-(np.log(1 - p) + np.log(p)) / 2)


@pytest.mark.parametrize(
    ("fraction", "weight"), [(0.25, 3.0), (0.5, 1.0), (0.8, 1.0), (0.001, MAX_POS_WEIGHT)]
)
def test_pos_weight_is_the_bounded_ratio_of_rows(fraction: float, weight: float) -> None:
    loss = MultilabelLoss(make_recipe("pos_weight", fraction), labels=1)
    has, lacks = (float(loss(torch.tensor([[0.0]]), torch.tensor([[t]]))) for t in (1, 0))
    assert has / lacks == pytest.approx(weight)


def test_contrastive_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, np.log(3.0)], [0.0, 0.0]])
    # Rows: -log 1/4 and -log 1/2; columns: -log 1/2 and -log 1/4.
    assert float(infonce_loss(logits)) == pytest.approx(np.log(8) / 2)
    # -log σ(0) three times, and -log σ(-ln 3) = log 4 once.
    assert float(siglip_loss(logits)) == pytest.approx((3 * np.log(2) + np.log(4)) / 2)
