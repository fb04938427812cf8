"""Rows in memory, of the machine or of a GPU, from which batches are picked."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from training.data.feature_reader import Vectors


class Batch(NamedTuple):
    """Rows as `Model.forward` and the loss take them."""

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same rows on a device."""
        return Batch(
            {name: values.to(device, non_blocking=True) for name, values in self.features.items()},
            {name: there.to(device, non_blocking=True) for name, there in self.present.items()},
            self.targets.to(device, non_blocking=True),
        )

    @classmethod
    def joined(cls, parts: "list[Batch]") -> "Batch":
        """The rows of several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        return cls(
            {name: torch.cat([part.features[name] for part in parts]) for name in first.features},
            {name: torch.cat([part.present[name] for part in parts]) for name in first.present},
            torch.cat([part.targets for part in parts]),
        )


class Held:
    """Rows of all columns and their targets.

    Args:
        vectors: column → its rows.
        max_tokens: column → most tokens of a row, 0 of a pooled column.
        targets: of the same rows.
        device: where they shall lie.
    """

    def __init__(
        self,
        vectors: Mapping[str, Vectors],
        max_tokens: Mapping[str, int],
        targets: Tensor,
        device: torch.device,
    ) -> None:
        self._columns = {
            name: (_Pooled.of(part) if part.offsets is None else _Tokens.of(part, max_tokens[name]))
            for name, part in vectors.items()
        }
        self._columns = {name: column.to(device) for name, column in self._columns.items()}
        self._targets = targets.to(device)
        self._device = device

    def select(self, rows: Tensor) -> Batch:
        """Some rows, in float32.

        Args:
            rows: int64, shape [n], positions in what is held.
        """
        rows = rows.to(self._device)
        picked = {name: column.select(rows) for name, column in self._columns.items()}
        return Batch(
            {name: features.float() for name, (features, _) in picked.items()},
            {name: present for name, (_, present) in picked.items()},
            self._targets.index_select(0, rows),
        )


class _Pooled(NamedTuple):
    features: Tensor
    present: Tensor

    @classmethod
    def of(cls, part: Vectors) -> Self:
        return cls(torch.from_numpy(part.features), torch.from_numpy(part.present))

    def to(self, device: torch.device) -> "_Pooled":
        return _Pooled(*(tensor.to(device) for tensor in self))

    def select(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.features.index_select(0, rows), self.present.index_select(0, rows)


class _Tokens(NamedTuple):
    features: Tensor
    starts: Tensor
    counts: Tensor
    positions: Tensor

    @classmethod
    def of(cls, part: Vectors, most: int) -> Self:
        assert part.offsets is not None
        starts, counts = torch.from_numpy(part.offsets[:-1]), np.diff(part.offsets)
        features = torch.from_numpy(part.features)
        return cls(features, starts, torch.from_numpy(counts), torch.arange(most))

    def to(self, device: torch.device) -> "_Tokens":
        return _Tokens(*(tensor.to(device) for tensor in self))

    def select(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        starts, counts = self.starts.index_select(0, rows), self.counts.index_select(0, rows)
        there = self.positions < counts[:, None]
        found = self.features.index_select(0, (starts[:, None] + self.positions)[there])
        padded = self.features.new_zeros(*there.shape, self.features.shape[1])
        padded[there] = found
        return padded, there
