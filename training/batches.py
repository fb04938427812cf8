"""Training rows as batches of tensors."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from training.data import Dataset
from training.splits import TRAIN


class Batch(NamedTuple):
    """Rows as `Model.forward` and the loss take them."""

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    targets: Tensor


class Batches:
    """Batches of the training rows."""

    def __init__(self, dataset: Dataset, size: int, *, shuffled: bool = True) -> None:
        self._dataset = dataset
        self._rows = torch.from_numpy(dataset.parts[TRAIN])
        self._targets = torch.from_numpy(dataset.targets)
        # A last batch of a few rows would be a noisy step: all batches are of nearly one size.
        self._count = max(1, round(len(self._rows) / size))
        self._shuffled = shuffled

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        order = self._rows[torch.randperm(len(self._rows))] if self._shuffled else self._rows
        for rows in order.tensor_split(self._count):
            features, present = self._dataset.features.take(rows.numpy())
            yield Batch(
                {name: torch.from_numpy(values).float() for name, values in features.items()},
                {name: torch.from_numpy(values) for name, values in present.items()},
                self._targets.index_select(0, rows),
            )
