"""A torch dataset over a feature store."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from mmfeat.api.stores import Features


class FeatureDataset(IterableDataset[dict[str, Any]]):
    """Yields one dict per record; see `Features.torch_dataset`.

    Args:
        features: the features.
        columns: columns of the samples table to add.
    """

    def __init__(self, features: "Features", columns: Sequence[str]) -> None:
        self.features, self.columns = features, list(columns)

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for shard in self.features.shards[start::step]:
            for record in self.features.read_records(shard):
                item = {name: record.values[name] for name in ("__key__", *self.columns)}
                yield item | self._tensors(record.features)

    def _tensors(self, features: Mapping[str, np.ndarray | None]) -> dict[str, Any]:
        tensors: dict[str, Any] = {}
        for name, column in self.features.columns.items():
            array = features[name]
            shape = (0, column.dim) if column.max_tokens else (column.dim,)
            empty = np.zeros(shape, column.dtype)
            tensors[name] = torch.from_numpy(np.array(empty if array is None else array))
            tensors[f"has_{name}"] = array is not None
        return tensors
