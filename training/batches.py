"""Training rows as batches of tensors."""

from collections.abc import Iterator

import torch
from torch import Tensor

from training.data import Dataset
from training.splits import TRAIN


class Batches:
    """Batches of the training rows, gathered from memory.

    Yields (features, present, labels) as `Model.forward` and the loss take them.
    """

    def __init__(self, dataset: Dataset, size: int, *, shuffled: bool = True) -> None:
        self._rows = torch.from_numpy(dataset.parts[TRAIN])
        self._features = {c: torch.from_numpy(v) for c, v in dataset.features.items()}
        self._present = {c: torch.from_numpy(v) for c, v in dataset.present.items()}
        self._labels = torch.from_numpy(dataset.labels)
        # A last batch of a few rows would be a noisy step: all batches are of nearly one size.
        self._count = max(1, round(len(self._rows) / size))
        self._shuffled = shuffled

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], Tensor]]:
        order = self._rows[torch.randperm(len(self._rows))] if self._shuffled else self._rows
        for rows in order.tensor_split(self._count):
            yield (
                {c: v.index_select(0, rows).float() for c, v in self._features.items()},
                {c: v.index_select(0, rows) for c, v in self._present.items()},
                self._labels.index_select(0, rows),
            )
