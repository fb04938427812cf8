"""Logits of validation rows, computed on a GPU."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.base import Model
from training.data import Dataset, ResidentFeatures

_ROWS = 8192
_MAX_BYTES = 1 << 28
"""Maximum number of rows, and size of the features, of a forward pass."""

_Columns = dict[str, Tensor]


class DeviceValidation:
    """Computes the logits of some rows on a device; the logits alone come back to the CPU.

    Args:
        dataset: the dataset.
        rows: int64 row numbers; at least one.
        device: device of the models.
        resident: all rows of the dataset on the device, or None.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: np.ndarray,
        device: torch.device,
        resident: ResidentFeatures | None = None,
    ) -> None:
        self._features = dataset.features
        self._rows, self._device = rows, device
        self._resident = resident if resident and resident.device == device else None
        row_bytes = sum(max(1, c.max_tokens) * c.dim * 4 for c in dataset.features.columns)
        self._size = max(1, min(_ROWS, _MAX_BYTES // row_bytes))

    def compute_logits(self, model: Model) -> np.ndarray:
        """Return the logits in eval mode, float32, shape (rows, outputs).

        Args:
            model: a model on the device; it returns to its previous mode.
        """
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            logits = torch.cat([model(*batch)[0].float() for batch in self._batches()])
        model.train(was_training)
        return logits.cpu().numpy()

    def _batches(self) -> Iterator[tuple[_Columns, _Columns]]:
        if self._resident:
            for rows in torch.from_numpy(self._rows).to(self._device).split(self._size):
                batch = self._resident.select(rows)
                yield batch.features, batch.present
            return
        for features, present in self._features.iterate_parts(self._rows):
            for start in range(0, len(next(iter(present.values()))), self._size):
                part = slice(start, start + self._size)
                yield (
                    {
                        name: self._to_device(values[part]).float()
                        for name, values in features.items()
                    },
                    {name: self._to_device(mask[part]) for name, mask in present.items()},
                )

    def _to_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)
