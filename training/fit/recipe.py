"""The recipe: every number of a training run, settled before it starts."""

import math
from dataclasses import dataclass

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
"""What is tried where no learning rate is given."""

WARM_UP = 0.05
"""Part of the steps in which the learning rate rises."""

CLIP = 1.0
"""Longest gradient, as the norm over all weights."""

INVERSE_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""What is tried for logistic regression where no --inverse-penalty is given."""

RIDGE_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""What is tried for ridge regression likewise."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is fitted: what all ways of fitting share."""

    metric: str
    seed: int
    epochs: int
    imbalance: str = "none"
    """What is done against unbalanced classes (see `imbalance.py`)."""
    prior: tuple[float, ...] = ()
    """Part of the training rows in each class, or with each label; what that goes by."""

    @property
    def choice(self) -> dict[str, float]:
        """Name and value of what is chosen on validation."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LinearRecipe(Recipe):
    """What both ways of fitting a `LinearModel` share."""

    inverse_penalty: float
    """C: the loss is the sum of the rows' losses + penalty / C."""
    standardised: bool = False
    """Whether each value of a dense column is divided by its deviation among the training rows."""

    @property
    def choice(self) -> dict[str, float]:
        """See `Recipe`."""
        return {"inverse_penalty": self.inverse_penalty, "standardised": self.standardised}


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe(LinearRecipe):
    """Cross-entropy by L-BFGS to convergence; an epoch is 20 iterations at most."""


@dataclass(frozen=True, kw_only=True)
class RidgeRecipe(LinearRecipe):
    """Least squares in closed form; there are no epochs."""


@dataclass(frozen=True, kw_only=True)
class StepRecipe(Recipe):
    """AdamW on batches, stopped early."""

    lr: float
    weight_decay: float
    batch_size: int
    patience: int
    auxiliary: float = 0.0
    """Weight of the modalities' own losses, see `learner.py`."""

    @property
    def choice(self) -> dict[str, float]:
        """See `Recipe`."""
        return {"lr": self.lr}

    def lr_at(self, step: int, steps: int) -> float:
        """Part of the learning rate at a step: a linear rise, then half a cosine down to 0."""
        rise = max(1, round(WARM_UP * steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def batch_size_for(rows: int, contrastive: bool = False) -> int:
    """A 50th of the training rows, so that a small set still gives an epoch many steps.

    A fifth where a row is told from the others of its batch: the more, the harder.
    """
    return min(1024, max(64, rows // 5) if contrastive else max(32, rows // 50))
