"""Sources of training batches: a fixed batch, mmfeat, DataLoader and WebDataset."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loaders.feature_rows import COLUMNS, write_tars

Source = Callable[[], Iterable[Any]]
"""Returns the batches of one epoch."""

TITLES = {
    "ceiling": "one fixed batch (the limit)",
    "ram": "mmfeat, in memory",
    "block": "mmfeat, shuffled blocks",
    "dataloader_1": "DataLoader of rows, 1 worker",
    "dataloader_2": "DataLoader of rows, 2 workers",
    "webdataset": "WebDataset of .npy files, 1 worker",
    "block_big": "mmfeat, shuffled blocks, large store",
}
"""Name of a source → title of its row."""


def load_store(store: str, access: str) -> Any:
    """Load a feature store as a dataset; access is "memory" or "blocks"."""
    from mmfeat.features import FeatureStore
    from training.data import SplitRule, load_dataset
    from training.objectives.registry import OBJECTIVES

    feature_store = FeatureStore(store)
    columns = list(feature_store.columns.values())
    objective = OBJECTIVES["multiclass"]("label")
    return load_dataset(feature_store, columns, objective, SplitRule("split"), access=access)


def make_sources(
    folder: Path, store: str, big_store: str, *, rows: int, batch_size: int
) -> dict[str, Source]:
    """Return name → source, in the order of their turns.

    Args:
        folder: folder for the tars.
        store: feature store that all sources read.
        big_store: larger feature store; empty leaves it out.
        rows: training rows of the store.
        batch_size: rows per batch.
    """
    from training.data import Batches

    dataset = load_store(store, "memory")
    in_memory = Batches(dataset, batch_size)
    in_blocks = Batches(load_store(store, "blocks"), batch_size)
    fixed_batch = next(iter(in_memory))
    labels = dataset.targets[:rows]
    features = {name: c.features[:rows] for name, c in dataset.features.all_rows().items()}
    tars = write_tars(folder / f"{rows}-tars", features, labels)
    sources: dict[str, Source] = {
        "ceiling": lambda: (fixed_batch for _ in range(len(in_memory))),
        "ram": lambda: in_memory,
        "block": lambda: in_blocks,
        "dataloader_1": lambda: _read_with_dataloader(features, labels, batch_size, 1),
        "dataloader_2": lambda: _read_with_dataloader(features, labels, batch_size, 2),
        "webdataset": lambda: _read_with_webdataset(tars, batch_size),
    }
    if big_store:
        big_blocks = Batches(load_store(big_store, "blocks"), batch_size)
        sources["block_big"] = lambda: big_blocks
    return sources


class RowDataset:
    """A map-style dataset of single rows."""

    def __init__(self, features: dict[str, np.ndarray], labels: np.ndarray) -> None:
        self._features = features
        self._labels = labels

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[dict[str, np.ndarray], int]:
        """Return column → vector of a row, and its class."""
        features = {name: values[row] for name, values in self._features.items()}
        return features, int(self._labels[row])


def _read_with_dataloader(
    features: dict[str, np.ndarray], labels: np.ndarray, batch_size: int, workers: int
) -> Iterator[Any]:
    """Yield batches of the DataLoader of torch, with its default collate function."""
    from torch.utils.data import DataLoader

    rows: Any = RowDataset(features, labels)
    for values, targets in DataLoader(rows, batch_size, shuffle=True, num_workers=workers):
        yield _make_batch(values, targets)


def _read_with_webdataset(tars: list[str], batch_size: int) -> Iterator[Any]:
    """Yield batches of the usual webdataset pipeline: shuffle tars and rows, decode, collate."""
    import webdataset

    def to_row(sample: dict[str, Any]) -> tuple[dict[str, np.ndarray], int]:
        return {name: sample[f"{name}.npy"] for name in COLUMNS}, sample["json"]["label"]

    dataset = webdataset.WebDataset(tars, shardshuffle=len(tars), empty_check=False)
    dataset = dataset.shuffle(8192).decode().map(to_row)
    for values, targets in webdataset.WebLoader(dataset, batch_size=batch_size, num_workers=1):
        yield _make_batch(values, targets)


def _make_batch(values: dict[str, Any], targets: Any) -> Any:
    import torch

    from training.data import Batch

    present = torch.ones(len(targets), dtype=torch.bool)
    features = {name: vectors.float() for name, vectors in values.items()}
    return Batch(features, dict.fromkeys(features, present), targets)
