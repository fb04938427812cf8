"""Batches of training rows, selected from memory or from blocks that a thread reads ahead."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from training.data.dataset import Dataset
from training.data.resident import Batch, ResidentFeatures
from training.data.shuffle import ShuffleBlock, block_size, sequential_blocks, shuffled_blocks
from training.data.split_rule import TRAIN

_CPU = torch.device("cpu")

_MAX_GPU_FRACTION = 0.5
"""Maximum fraction of a GPU's free memory for features. Larger features are copied per batch."""


class Batches:
    """Batches of the training rows, in a new order in each epoch.

    The seed of the order comes from torch's random state when an epoch starts. The order does not
    depend on where the features are.

    Args:
        dataset: the rows.
        size: approximate number of rows in a batch.
        shuffled: whether to shuffle the rows.
        balanced: whether to sample rows with replacement, every class equally often.
        device: device of the batches.
        block: rows in a block. None = chosen by the size of a row.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        *,
        shuffled: bool = True,
        balanced: bool = False,
        device: torch.device = _CPU,
        block: int | None = None,
    ) -> None:
        self._features = dataset.features
        self._rows = dataset.split_rows[TRAIN]
        self._targets = dataset.targets
        self._classes = dataset.targets if balanced else None
        self._shuffled = shuffled
        self._device = device
        self._block = block or block_size(dataset.features.columns)
        # All batches have nearly the same size: a last batch of a few rows is a noisy step.
        self._count = max(1, round(len(self._rows) / size))
        self._max_tokens = {c.name: c.max_tokens for c in dataset.features.columns}
        self._all_rows = self._load_all() if dataset.features.in_memory else None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        sizes = iter(_batch_sizes(len(self._rows), self._count))
        parts: list[Batch] = []
        missing = next(sizes)
        for features, order in self._in_memory() if self._all_rows else self._read_ahead():
            while len(order):
                selected, order = order[:missing], order[missing:]
                # The last rows of a block wait here for the first rows of the next one.
                parts.append(features.select(selected))
                missing -= len(selected)
                if not missing:
                    yield Batch.concatenate(parts).to(self._device)
                    parts, missing = [], next(sizes, 0)

    def _in_memory(self) -> Iterator[tuple[ResidentFeatures, Tensor]]:
        assert self._all_rows
        for rows, order in self._blocks():
            yield self._all_rows, torch.from_numpy(rows[order])

    def _read_ahead(self) -> Iterator[tuple[ResidentFeatures, Tensor]]:
        blocks = self._blocks()
        with ThreadPoolExecutor(1) as reader:
            pending = [reader.submit(self._read, next(blocks))]
            while pending:
                features, order = pending.pop().result()
                pending += [reader.submit(self._read, b) for b in itertools.islice(blocks, 1)]
                yield features, order
                del features  # before the wait for the next block: two in memory, never three

    def _read(self, block: ShuffleBlock) -> tuple[ResidentFeatures, Tensor]:
        # No torch operations here: torch starts a thread pool for each thread that uses them.
        features = ResidentFeatures(
            self._features.gather(block.rows),
            self._max_tokens,
            torch.from_numpy(self._targets[block.rows]),
            self._device,
        )
        return features, torch.from_numpy(block.order)

    def _blocks(self) -> Iterator[ShuffleBlock]:
        if not self._shuffled:
            return sequential_blocks(self._rows, self._block)
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        return shuffled_blocks(self._rows, self._block, rng, self._classes)

    def _load_all(self) -> ResidentFeatures:
        columns = self._features.all_rows()
        device = self._device
        if device.type == "cuda":
            size = sum(column.features.nbytes for column in columns.values())
            fits = size <= _MAX_GPU_FRACTION * torch.cuda.mem_get_info(device)[0]
            device = device if fits else _CPU
        targets = torch.from_numpy(self._targets)
        return ResidentFeatures(columns, self._max_tokens, targets, device)


def _batch_sizes(rows: int, count: int) -> list[int]:
    """Return `count` sizes that differ by at most one row."""
    return [rows // count + (number < rows % count) for number in range(count)]
