"""Batches of records of similar length, within a budget."""

from collections.abc import Iterator, Sequence


def batch_by_length(
    lengths: Sequence[int], batch_size: int, budget: int | None
) -> Iterator[list[int]]:
    """Yield batches of indices of records of similar length, the longest first.

    A batch is padded to its longest record: it costs that length times its number of records. The
    longest batch comes first, so running out of memory shows at once.

    Args:
        lengths: cost of each record.
        batch_size: maximum number of records per batch.
        budget: maximum cost of a batch; None = no limit. A single record may exceed it.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batch: list[int] = []
    for index in order:
        longest = lengths[batch[0]] if batch else lengths[index]
        if len(batch) == batch_size or (budget and batch and longest * (len(batch) + 1) > budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
