"""Batches of training rows, selected from memory or from blocks that a thread reads ahead."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from training.data.dataset import Dataset
from training.data.resident import Batch, ResidentFeatures
from training.data.shuffle import ShuffleBlock, block_size, sequential_blocks, shuffled_blocks
from training.data.split_rule import TRAIN

_Source = TypeVar("_Source")
_Part = TypeVar("_Part")

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

    Attributes:
        resident: all rows of the dataset in the memory of the device, or of the CPU if they do not
            fit there; None if the features are on disk.
    """

    resident: ResidentFeatures | None

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
        self.resident = self._load_all() if dataset.features.in_memory else None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        for inputs in self.inputs():
            yield self.to_batch(*inputs)

    def inputs(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield for each batch the tensors that `to_batch` makes it of, on the device.

        They are the row numbers alone if all features are resident on the device, so that a CUDA
        graph can select the features itself. Batches of equally many rows have tensors of equal
        shapes.
        """
        if self._selects_on_device:
            # One copy per block: a copy from the CPU waits for all earlier work of a GPU.
            orders = (torch.from_numpy(b.rows[b.order]).to(self._device) for b in self._blocks())
            for rows in self._cut(((None, order) for order in orders), lambda _, part: part):
                yield (rows[0] if len(rows) == 1 else torch.cat(rows),)
            return
        source = self._in_memory() if self.resident else self._read_ahead()
        for parts in self._cut(source, ResidentFeatures.select):
            yield Batch.concatenate(parts).to(self._device).to_tensors()

    def to_batch(self, *inputs: Tensor) -> Batch:
        """Return the batch of the tensors that `inputs` yields."""
        if self._selects_on_device:
            assert self.resident
            return self.resident.select(*inputs)
        return Batch.from_tensors([*self._max_tokens], inputs)

    @property
    def _selects_on_device(self) -> bool:
        # A CUDA graph cannot select tokens: their number is a result of the GPU.
        has_tokens = any(self._max_tokens.values())
        return not has_tokens and self.resident is not None and self.resident.device == self._device

    def _cut(
        self,
        blocks: Iterable[tuple[_Source, Tensor]],
        select: Callable[[_Source, Tensor], _Part],
    ) -> Iterator[list[_Part]]:
        """Cut blocks of rows into batches; yield the selected parts of each."""
        sizes = iter(_batch_sizes(len(self._rows), self._count))
        parts: list[_Part] = []
        missing = next(sizes)
        for source, order in blocks:
            while len(order):
                selected, order = order[:missing], order[missing:]
                # The last rows of a block wait here for the first rows of the next one.
                parts.append(select(source, selected))
                missing -= len(selected)
                if not missing:
                    yield parts
                    parts, missing = [], next(sizes, 0)

    def _in_memory(self) -> Iterator[tuple[ResidentFeatures, Tensor]]:
        assert self.resident
        for rows, order in self._blocks():
            yield self.resident, torch.from_numpy(rows[order])

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
        return features, torch.from_numpy(block.order).to(self._device)

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
