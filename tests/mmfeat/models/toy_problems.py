"""Toy problems with known answers, and a training loop."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.fusion_model import FusionModel

DIM = 16
"""Length of the features of a modality."""
CLASSES = 4
"""Number of classes of `selector`."""


@dataclass(frozen=True)
class ToyProblem:
    """Rows of a toy problem.

    Attributes:
        features: modality → shape [rows, DIM], or [rows, tokens, DIM].
        present: modality → bool, shape [rows], or [rows, tokens].
        labels: shape [rows].
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    labels: Tensor

    def without(self, modality: str, rows: Tensor | None = None) -> "ToyProblem":
        """Return the problem without a modality, in all rows or those that `rows` selects."""
        hidden = torch.ones_like(self.labels, dtype=torch.bool) if rows is None else rows
        return replace(self, present=self.present | {modality: ~hidden})

    def as_tokens(self, modality: str, tokens: int = 3) -> "ToyProblem":
        """Return the problem with a modality as tokens.

        A random token holds the vector; a random number of others carry no information.
        """
        g = torch.Generator().manual_seed(7)
        rows = len(self.labels)
        sequence = 0.3 * torch.randn(rows, tokens, DIM, generator=g)
        sequence[..., -1] += 1
        position = torch.arange(rows), torch.randint(tokens, (rows,), generator=g)
        sequence[position] = self.features[modality]
        mask = torch.rand(rows, tokens, generator=g) < 0.5
        mask[position] = True
        return replace(
            self,
            features=self.features | {modality: sequence},
            present=self.present | {modality: mask},
        )


def complete(image: Tensor, text: Tensor, labels: Tensor) -> ToyProblem:
    """Return a problem whose rows have both modalities."""
    mask = torch.ones(len(labels), dtype=torch.bool)
    return ToyProblem({"image": image, "text": text}, {"image": mask, "text": mask}, labels)


def random_signs(rows: int, generator: torch.Generator) -> Tensor:
    """Return −1 or 1, shape [rows]."""
    return 2.0 * torch.randint(2, (rows,), generator=generator) - 1


def on_axis(values: Tensor, axis: int, noise: float, generator: torch.Generator) -> Tensor:
    """Return noise with the values added on one axis, shape [rows, DIM]."""
    x = noise * torch.randn(len(values), DIM, generator=generator)
    x[:, axis] += values
    return x


def xor(rows: int, seed: int) -> ToyProblem:
    """Return rows labelled by whether the modalities have different signs."""
    g = torch.Generator().manual_seed(seed)
    a, b = random_signs(rows, g), random_signs(rows, g)
    return complete(on_axis(a, 0, 0.3, g), on_axis(b, 0, 0.3, g), (a != b).long())


def quadruples(count: int, seed: int) -> ToyProblem:
    """Return benign confounders of `xor`: each image and text occurs with both labels.

    Rows 4n to 4n + 3 are image A with texts A and B, then image B with texts A and B.
    """
    g = torch.Generator().manual_seed(seed)
    signs = torch.tensor([1.0, -1.0]).repeat(count)
    image = on_axis(signs, 0, 0.3, g).reshape(count, 2, 1, DIM).expand(-1, -1, 2, -1)
    text = on_axis(signs, 0, 0.3, g).reshape(count, 1, 2, DIM).expand(-1, 2, -1, -1)
    labels = torch.tensor([0, 1, 1, 0]).repeat(count)
    return complete(image.reshape(-1, DIM), text.reshape(-1, DIM), labels)


def selector(rows: int, seed: int) -> tuple[ToyProblem, Tensor]:
    """Return rows whose image has a flag for the modality with the class; the other is a decoy.

    Returns:
        The problem, and whether the image has the class, bool, shape [rows].
    """
    g = torch.Generator().manual_seed(99)
    shapes = 2 * nn.functional.normalize(torch.randn(2, CLASSES, DIM, generator=g), dim=2)
    g = torch.Generator().manual_seed(seed)
    in_image, in_text = (torch.randint(CLASSES, (rows,), generator=g) for _ in range(2))
    flag = random_signs(rows, g)
    image = shapes[0, in_image] + on_axis(2 * flag, 0, 0.3, g)
    text = shapes[1, in_text] + on_axis(torch.zeros(rows), 0, 0.3, g)
    return complete(image, text, torch.where(flag > 0, in_image, in_text)), flag > 0


def two_views(rows: int, seed: int) -> ToyProblem:
    """Return rows with the label y = ±1 in unit noise: 1.2 y in the image, y in the text.

    The optimal accuracy is Φ(1) from the text alone and Φ(√(1.2² + 1²)) from both.
    """
    g = torch.Generator().manual_seed(seed)
    y = random_signs(rows, g)
    image, text = (on_axis(size * y, 0, 1.0, g) for size in (1.2, 1.0))
    return complete(image, text, (y > 0).long())


def train(
    toy: ToyProblem,
    fusion: str,
    *,
    steps: int = 250,
    lr: float = 5e-3,
    seed: int = 0,
    biases: bool = True,
    **layers: Any,
) -> Model:
    """Train a model with AdamW, batches of 128 and a linearly decreasing learning rate.

    Args:
        toy: the problem.
        fusion: name of the fusion.
        steps: number of steps.
        lr: initial learning rate.
        seed: seed of weights and batches.
        biases: whether the projections have biases.
        layers: further fields of the `Architecture`.

    Returns:
        The model in eval mode.
    """
    layers = {
        "combination": "linear",
        "hidden": 16,
        "dropout": 0.0,
        "modality_dropout": 0.0,
        **layers,
    }
    tokens = {c: x.shape[1] for c, x in toy.features.items() if x.dim() == 3}
    classes = int(toy.labels.max()) + 1
    torch.manual_seed(seed)
    model = build_model(
        Architecture(dict.fromkeys(toy.features, DIM), classes, fusion, tokens=tokens, **layers)
    )
    if not biases:
        for projection in cast(FusionModel, model).projections:
            for bias in (projection.norm.bias, projection.dense.bias):
                nn.init.zeros_(bias.requires_grad_(False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for _ in range(steps):
        rows = torch.randint(len(toy.labels), (128,))
        logits, _ = model(
            {c: x[rows] for c, x in toy.features.items()},
            {c: x[rows] for c, x in toy.present.items()},
        )
        loss = nn.functional.cross_entropy(logits, toy.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def xor_scores(model: Model, toy: ToyProblem) -> Tensor:
    """Return logit of class 1 − logit of class 0, shape [rows]."""
    logits, _ = model(toy.features, toy.present)
    return logits[:, 1] - logits[:, 0]


@torch.no_grad()
def modality_weights(model: Model, toy: ToyProblem) -> Tensor:
    """Return modality weights, shape [rows, modalities]."""
    _, weights = model(toy.features, toy.present)
    assert weights is not None
    return weights


def accuracy(scores: Tensor, labels: Tensor, cut: float = 0.0) -> float:
    """Return the fraction of rows on the correct side of the cut."""
    return ((scores > cut) == (labels == 1)).float().mean().item()
