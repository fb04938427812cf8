"""Recipes: all numbers of one fit, fixed before it starts."""

import math
from dataclasses import dataclass
from typing import Any

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
"""Learning rates to try if --lr is not given."""

WARM_UP = 0.05
"""Fraction of the steps in which the learning rate rises."""

MAX_GRADIENT_NORM = 1.0
"""Gradients are clipped at this norm over all weights."""

INVERSE_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Values of C to try for logistic regression if --inverse-penalty is not given."""

RIDGE_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Values of C to try for ridge regression if --inverse-penalty is not given."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings that all ways of fitting share."""

    metric: str
    seed: int
    epochs: int
    imbalance: str = "none"
    """Treatment of imbalanced classes, see `objectives/imbalance.py`."""
    prior: tuple[float, ...] = ()
    """Fraction of the training rows in each class, or with each label."""

    @property
    def choice(self) -> dict[str, Any]:
        """The settings that validation chooses, by name."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LinearRecipe(Recipe):
    """Settings of a `LinearModel`."""

    inverse_penalty: float
    """C: the loss is the sum of the rows' losses + penalty / C."""
    standardised: bool = False
    """Whether to divide each value of a dense column by its standard deviation."""

    @property
    def choice(self) -> dict[str, Any]:
        """See `Recipe`."""
        return {"inverse_penalty": self.inverse_penalty, "standardised": self.standardised}


@dataclass(frozen=True, kw_only=True)
class LogisticRecipe(LinearRecipe):
    """Cross-entropy, L-BFGS to convergence. An epoch is at most 20 iterations."""


@dataclass(frozen=True, kw_only=True)
class RidgeRecipe(LinearRecipe):
    """Least squares in closed form, without epochs."""


@dataclass(frozen=True, kw_only=True)
class AdamWRecipe(Recipe):
    """AdamW on batches with early stopping."""

    lr: float
    weight_decay: float
    batch_size: int
    patience: int
    auxiliary: float = 0.0
    """Weight of the auxiliary losses, see `fit/auxiliary.py`."""
    conditioning: str = ""
    """Conditioning of all columns, see `mmfeat.models.conditioning`; empty = not asked for."""

    @property
    def choice(self) -> dict[str, Any]:
        """See `Recipe`."""
        conditioning = {"conditioning": self.conditioning} if self.conditioning else {}
        return {**conditioning, "lr": self.lr}

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate at a step: linear warm-up, cosine decay to 0."""
        warm_up = max(1, round(WARM_UP * steps))
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def default_batch_size(rows: int, contrastive: bool = False) -> int:
    """Return a 50th of the training rows, so that an epoch of a small set has many steps.

    A contrastive loss gets a fifth: it needs many negatives in each batch.
    """
    return min(1024, max(64, rows // 5) if contrastive else max(32, rows // 50))
