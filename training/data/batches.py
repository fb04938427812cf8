"""Training rows as batches of tensors: picked from memory, or from blocks read one step ahead."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from training.data.dataset import Dataset
from training.data.resident import Batch, Held
from training.data.shuffle import Buffer, block_size, in_order, shuffled
from training.data.splits import TRAIN
from training.fit.device import CPU

__all__ = ["Batch", "Batches"]

_SHARE = 0.5
"""Part of a GPU's free memory that features may take; else they are copied batch by batch."""


class Batches:
    """Batches of the training rows, in an order of its own in each epoch.

    The order is drawn from torch's random state when an epoch begins, and is the same whether the
    features are in memory or are read in blocks. A thread reads the next blocks meanwhile.

    Args:
        dataset: the rows.
        size: rows in a batch, nearly.
        shuffled: whether rows come in random order, or as they stand.
        balanced: draw rows with replacement, every class equally often; of classes alone.
        device: where the batches are used.
        block: rows in a block; what fits the columns where not given.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        *,
        shuffled: bool = True,
        balanced: bool = False,
        device: torch.device = CPU,
        block: int | None = None,
    ) -> None:
        self._features = dataset.features
        self._rows = dataset.parts[TRAIN]
        self._targets = dataset.targets
        self._classes = dataset.targets if balanced else None
        self._shuffled = shuffled
        self._device = device
        self._block = block or block_size(dataset.features.columns)
        # A last batch of a few rows would be a noisy step: all batches are of nearly one size.
        self._count = max(1, round(len(self._rows) / size))
        self._max_tokens = {c.name: c.max_tokens for c in dataset.features.columns}
        self._whole = self._hold_all() if dataset.features.in_memory else None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        sizes = iter(_sizes(len(self._rows), self._count))
        parts: list[Batch] = []
        wanted = next(sizes)
        for held, order in self._in_memory() if self._whole else self._read_ahead():
            while len(order):
                picked, order = order[:wanted], order[wanted:]
                # The last rows of a buffer are picked now and wait for the next buffer's.
                parts.append(held.select(picked))
                wanted -= len(picked)
                if not wanted:
                    yield Batch.joined(parts).to(self._device)
                    parts, wanted = [], next(sizes, 0)

    def _in_memory(self) -> Iterator[tuple[Held, Tensor]]:
        assert self._whole
        for rows, order in self._buffers():
            yield self._whole, torch.from_numpy(rows[order])

    def _read_ahead(self) -> Iterator[tuple[Held, Tensor]]:
        buffers = self._buffers()
        with ThreadPoolExecutor(1) as reader:
            reading = [reader.submit(self._read, next(buffers))]
            while reading:
                held, order = reading.pop().result()
                reading += [reader.submit(self._read, b) for b in itertools.islice(buffers, 1)]
                yield held, order
                del held  # before the next one is waited for: two buffers, never three

    def _read(self, buffer: Buffer) -> tuple[Held, Tensor]:
        # Without torch's operations: a thread of its own would get torch threads of its own.
        held = Held(
            self._features.gather(buffer.rows),
            self._max_tokens,
            torch.from_numpy(self._targets[buffer.rows]),
            self._device,
        )
        return held, torch.from_numpy(buffer.order)

    def _buffers(self) -> Iterator[Buffer]:
        if not self._shuffled:
            return in_order(self._rows, self._block)
        seed = int(torch.randint(2**62, ()))
        return shuffled(self._rows, self._block, np.random.default_rng(seed), self._classes)

    def _hold_all(self) -> Held:
        vectors = self._features.all()
        device = self._device
        if device.type == "cuda":
            size = sum(part.features.nbytes for part in vectors.values())
            fits = size <= _SHARE * torch.cuda.mem_get_info(device)[0]
            device = device if fits else CPU
        return Held(vectors, self._max_tokens, torch.from_numpy(self._targets), device)


def _sizes(rows: int, count: int) -> list[int]:
    """Sizes of `count` parts that differ by one row at most."""
    return [rows // count + (number < rows % count) for number in range(count)]
