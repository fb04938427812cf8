"""Features in the memory of a CPU or GPU, from which batches are selected."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmfeat.features import ColumnShard


class Batch(NamedTuple):
    """Rows in the form `Model.forward` and the loss read."""

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return Batch(
            {name: values.to(device, non_blocking=True) for name, values in self.features.items()},
            {name: mask.to(device, non_blocking=True) for name, mask in self.present.items()},
            self.targets.to(device, non_blocking=True),
        )

    def to_tensors(self) -> tuple[Tensor, ...]:
        """Return the features, the masks and the targets."""
        return (*self.features.values(), *self.present.values(), self.targets)

    @classmethod
    def from_tensors(cls, names: Sequence[str], tensors: Sequence[Tensor]) -> "Batch":
        """Return the batch of the tensors that `to_tensors` returned.

        Args:
            names: the columns, in the order of the tensors.
            tensors: the tensors.
        """
        *values, targets = tensors
        features, present = values[: len(names)], values[len(names) :]
        return cls(
            dict(zip(names, features, strict=True)), dict(zip(names, present, strict=True)), targets
        )

    @classmethod
    def concatenate(cls, parts: "list[Batch]") -> "Batch":
        """Return the rows of several batches as one batch."""
        if len(parts) == 1:
            return parts[0]
        names = parts[0].features
        return cls(
            {name: torch.cat([part.features[name] for part in parts]) for name in names},
            {name: torch.cat([part.present[name] for part in parts]) for name in names},
            torch.cat([part.targets for part in parts]),
        )


class ResidentFeatures:
    """Features and targets of some rows as tensors on one device.

    Args:
        columns: column name → rows.
        max_tokens: column name → maximum number of tokens per row; 0 = one vector per row.
        targets: targets of the same rows.
        device: device of the tensors.
    """

    def __init__(
        self,
        columns: Mapping[str, ColumnShard],
        max_tokens: Mapping[str, int],
        targets: Tensor,
        device: torch.device,
    ) -> None:
        self.device = device
        self._max_tokens = max_tokens
        self._targets = targets.to(device)
        self._features: dict[str, Tensor] = {}
        self._present: dict[str, Tensor] = {}
        self._offsets: dict[str, Tensor] = {}
        for name, column in columns.items():
            self._features[name] = torch.from_numpy(column.features).to(device)
            self._present[name] = torch.from_numpy(column.present).to(device)
            if column.offsets is not None:
                self._offsets[name] = torch.from_numpy(column.offsets).to(device)

    def select(self, rows: Tensor) -> Batch:
        """Return some rows as a batch of float32 features.

        Args:
            rows: int64, shape [n]: positions among the resident rows.
        """
        rows = rows.to(self.device)
        features, present = {}, {}
        for name, values in self._features.items():
            if name in self._offsets:
                selected, present[name] = self._select_tokens(name, rows)
            else:
                selected = values.index_select(0, rows)
                present[name] = self._present[name].index_select(0, rows)
            features[name] = selected.float()
        return Batch(features, present, self._targets.index_select(0, rows))

    def _select_tokens(self, name: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens padded with zeros, shape [n, max_tokens, dim], and their mask."""
        values, offsets = self._features[name], self._offsets[name]
        starts = offsets.index_select(0, rows)
        counts = offsets.index_select(0, rows + 1) - starts
        positions = torch.arange(self._max_tokens[name], device=self.device)
        mask = positions < counts[:, None]
        padded = values.new_zeros(*mask.shape, values.shape[1])
        padded[mask] = values.index_select(0, (starts[:, None] + positions)[mask])
        return padded, mask
