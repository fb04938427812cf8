"""Loss functions of the objectives."""

import torch
from torch import Tensor, nn

from training.objectives import imbalance
from training.recipe import Recipe

SIGLIP = "siglip"


class MulticlassLoss:
    """Cross-entropy with the recipe's method against class imbalance."""

    def __init__(self, recipe: Recipe) -> None:
        prior = torch.tensor(recipe.prior)
        self._adjustment = self._weights = None
        self._is_focal = recipe.imbalance == imbalance.FOCAL
        if recipe.imbalance == imbalance.LOGIT_ADJUSTMENT:
            self._adjustment = prior.log()
        elif recipe.imbalance == imbalance.CLASS_WEIGHTS:
            self._weights = 1 / (prior * len(prior))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: shape [batch, classes].
            targets: int64, shape [batch].
        """
        if self._adjustment is not None:
            logits = logits + self._adjustment
        if self._is_focal:
            return _focal_mean(nn.functional.cross_entropy(logits, targets, reduction="none"))
        return nn.functional.cross_entropy(logits, targets, weight=self._weights)


class MultilabelLoss:
    """Binary cross-entropy of each label with the recipe's method against rare labels.

    Args:
        recipe: the recipe.
        labels: number of labels of the task; further columns of the targets are ignored.
    """

    def __init__(self, recipe: Recipe, labels: int) -> None:
        self._labels = labels
        self._weights: Tensor | None = None
        self._is_focal = recipe.imbalance == imbalance.FOCAL
        if recipe.imbalance == imbalance.POS_WEIGHT:
            prior = torch.tensor(recipe.prior)
            self._weights = ((1 - prior) / prior).clamp(1, imbalance.MAX_POS_WEIGHT)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: shape [batch, labels].
            targets: 0 or 1, shape [batch, at least labels].
        """
        targets = targets[:, : self._labels].to(logits.dtype)
        cross_entropy = nn.functional.binary_cross_entropy_with_logits
        if self._is_focal:
            return _focal_mean(cross_entropy(logits, targets, reduction="none"))
        return cross_entropy(logits, targets, pos_weight=self._weights)


def _focal_mean(losses: Tensor) -> Tensor:
    """Return the mean of the losses, weighted by (1 - p)^γ."""
    return ((1 - (-losses).exp()) ** imbalance.FOCAL_GAMMA * losses).mean()


def infonce_loss(logits: Tensor) -> Tensor:
    """Return the mean of -log p(own b | a) and -log p(own a | b), by softmax over the batch.

    van den Oord et al. 2018, arXiv:1807.03748; symmetric as in Radford et al. 2021,
    arXiv:2103.00020.

    Args:
        logits: shape [n, n]; matching pairs are on the diagonal.
    """
    own = torch.arange(len(logits), device=logits.device)
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def siglip_loss(logits: Tensor) -> Tensor:
    """Return -1/n Σ log σ(± logit) over all n² pairs, + on the diagonal.

    Zhai et al. 2023, arXiv:2303.15343.

    Args:
        logits: shape [n, n], with the bias; matching pairs are on the diagonal.
    """
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -nn.functional.logsigmoid(signs * logits).sum() / len(logits)
