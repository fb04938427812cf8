"""Which records of a window are encoded together: like lengths, within a budget."""

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], size: int, budget: int | None) -> Iterator[list[int]]:
    """Indices of a window, in batches of records of like length, the longest batch first.

    A batch is as wide as its longest record, so that its cost is that length times its records.
    The longest first: what does not fit into memory shows at once.

    Args:
        lengths: what each record costs.
        size: records in a batch at most.
        budget: cost of a batch at most, where there is a bound; a single record may exceed it.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batch: list[int] = []
    for index in order:
        widest = lengths[batch[0]] if batch else lengths[index]
        if len(batch) == size or (budget and batch and widest * (len(batch) + 1) > budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
