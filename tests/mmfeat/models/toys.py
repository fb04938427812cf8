"""Small problems with known answers, and the loop that trains a model on them."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.fusion_model import FusionModel

DIM = 16
"""Length of each modality's features."""
CLASSES = 4
"""Classes of `selector`."""


@dataclass(frozen=True)
class Toy:
    """Rows of a problem.

    Attributes:
        features: modality → shape [rows, DIM], or [rows, tokens, DIM].
        present: modality → bool, shape [rows], or [rows, tokens].
        labels: shape [rows].
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    labels: Tensor

    def without(self, modality: str, rows: Tensor | None = None) -> "Toy":
        """The same rows, lacking a modality: all of them, or where `rows` is true."""
        hidden = torch.ones_like(self.labels, dtype=torch.bool) if rows is None else rows
        return replace(self, present=self.present | {modality: ~hidden})

    def as_tokens(self, modality: str, tokens: int = 3) -> "Toy":
        """The same rows with the modality's vector at a random place among that many tokens; the
        others, of which a random number is there, lie elsewhere and say nothing."""
        g = torch.Generator().manual_seed(7)
        rows = len(self.labels)
        sequence = 0.3 * torch.randn(rows, tokens, DIM, generator=g)
        sequence[..., -1] += 1
        place = torch.arange(rows), torch.randint(tokens, (rows,), generator=g)
        sequence[place] = self.features[modality]
        there = torch.rand(rows, tokens, generator=g) < 0.5
        there[place] = True
        return replace(
            self,
            features=self.features | {modality: sequence},
            present=self.present | {modality: there},
        )


def both_there(image: Tensor, text: Tensor, labels: Tensor) -> Toy:
    """A toy of two modalities, both there in each row."""
    there = torch.ones(len(labels), dtype=torch.bool)
    return Toy({"image": image, "text": text}, {"image": there, "text": there}, labels)


def sides(rows: int, generator: torch.Generator) -> Tensor:
    """−1 or 1, shape [rows]."""
    return 2.0 * torch.randint(2, (rows,), generator=generator) - 1


def along(values: Tensor, axis: int, noise: float, generator: torch.Generator) -> Tensor:
    """Values written on one axis of noise, shape [rows, DIM]."""
    x = noise * torch.randn(len(values), DIM, generator=generator)
    x[:, axis] += values
    return x


def xor(rows: int, seed: int) -> Toy:
    """The label is whether the two modalities have different signs. Each alone says nothing."""
    g = torch.Generator().manual_seed(seed)
    a, b = sides(rows, g), sides(rows, g)
    return both_there(along(a, 0, 0.3, g), along(b, 0, 0.3, g), (a != b).long())


def quadruples(count: int, seed: int) -> Toy:
    """Benign confounders of `xor`: each image and each text stands in two rows of other labels.

    Rows 4n to 4n + 3 are image A with texts A and B, then image B with texts A and B.
    """
    g = torch.Generator().manual_seed(seed)
    signs = torch.tensor([1.0, -1.0]).repeat(count)
    image = along(signs, 0, 0.3, g).reshape(count, 2, 1, DIM).expand(-1, -1, 2, -1)
    text = along(signs, 0, 0.3, g).reshape(count, 1, 2, DIM).expand(-1, 2, -1, -1)
    labels = torch.tensor([0, 1, 1, 0]).repeat(count)
    return both_there(image.reshape(-1, DIM), text.reshape(-1, DIM), labels)


def selector(rows: int, seed: int) -> tuple[Toy, Tensor]:
    """A flag in the image says which modality shows the class; the other shows a decoy.

    Returns:
        The toy, and whether the image shows the class, bool, shape [rows].
    """
    g = torch.Generator().manual_seed(99)
    shapes = 2 * nn.functional.normalize(torch.randn(2, CLASSES, DIM, generator=g), dim=2)
    g = torch.Generator().manual_seed(seed)
    in_image, in_text = (torch.randint(CLASSES, (rows,), generator=g) for _ in range(2))
    flag = sides(rows, g)
    image = shapes[0, in_image] + along(2 * flag, 0, 0.3, g)
    text = shapes[1, in_text] + along(torch.zeros(rows), 0, 0.3, g)
    return both_there(image, text, torch.where(flag > 0, in_image, in_text)), flag > 0


def two_views(rows: int, seed: int) -> Toy:
    """Both modalities show the label y = ±1 through unit noise: the image at 1.2, the text at 1.

    The best possible accuracy is Φ(1) by the text alone and Φ(√(1.2² + 1²)) by both.
    """
    g = torch.Generator().manual_seed(seed)
    y = sides(rows, g)
    image, text = (along(size * y, 0, 1.0, g) for size in (1.2, 1.0))
    return both_there(image, text, (y > 0).long())


def train(
    toy: Toy,
    fusion: str,
    *,
    steps: int = 250,
    lr: float = 5e-3,
    seed: int = 0,
    biases: bool = True,
    **layers: Any,
) -> Model:
    """A model trained on a toy, in eval mode: AdamW, batches of 128, a linear fall of the rate.

    Args:
        toy: the rows.
        fusion: its name.
        steps: how many.
        lr: rate of the first step.
        seed: of the weights and the batches.
        biases: whether the projections have any.
        layers: more of the `Architecture`.
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
def scores_of(model: Model, toy: Toy) -> Tensor:
    """logit of class 1 − logit of class 0, shape [rows]."""
    logits, _ = model(toy.features, toy.present)
    return logits[:, 1] - logits[:, 0]


@torch.no_grad()
def weights_of(model: Model, toy: Toy) -> Tensor:
    """Modality weights, shape [rows, modalities]."""
    _, weights = model(toy.features, toy.present)
    assert weights is not None
    return weights


def accuracy(scores: Tensor, labels: Tensor, cut: float = 0.0) -> float:
    """Part of the rows on the right side of the cut."""
    return ((scores > cut) == (labels == 1)).float().mean().item()
