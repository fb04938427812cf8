"""Add up receipts: the totals of a manifest."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from mmfeat.store.receipts import Receipt

StatusAndReason: TypeAlias = tuple[str, str | None]
"""Status of a row, and its reason if it is not `ok`."""


class ReceiptSum:
    """The totals of receipts."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._counters: dict[str, Counter[str]] = {
            "rejected": Counter(), "status": Counter(), "problems": Counter()
        }  # fmt: skip

    def add(self, receipt: Receipt) -> None:
        """Add a receipt."""
        numbers = self._numbers
        numbers["records"] += receipt.records
        numbers["out"] += receipt.out
        numbers["bytes_read"] += receipt.bytes_read
        numbers["bytes_written"] += sum(info["bytes"] for info in receipt.files.values())
        for name, counter in self._counters.items():
            for key, number in getattr(receipt, name).items():
                counter[key] += number

    @property
    def totals(self) -> dict[str, Any]:
        """The totals, as they stand in a manifest; they add up: in = out + rejected."""
        names = ("records", "out", "bytes_read", "bytes_written")
        totals: dict[str, Any] = {name: self._numbers[name] for name in names}
        totals |= {name: dict(sorted(counts.items())) for name, counts in self._counters.items()}
        if totals["records"] != totals["out"] + sum(totals["rejected"].values()):
            raise AssertionError(f"the totals of the store do not add up: {totals}")
        return totals


def sum_receipts(receipts: Iterable[Receipt]) -> dict[str, Any]:
    """Add up receipts and check that in = out + rejected."""
    result = ReceiptSum()
    for receipt in receipts:
        result.add(receipt)
    return result.totals


def list_receipts(
    receipts: Iterable[Receipt], describe: Callable[[Receipt], dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Add up receipts and list their shards, with one receipt in memory at a time.

    Args:
        receipts: the receipts.
        describe: returns the entry of a shard in the manifest.

    Returns:
        The totals, as `sum_receipts` returns them, and the entries.
    """
    result, entries = ReceiptSum(), []
    for receipt in receipts:
        result.add(receipt)
        entries.append(describe(receipt))
    return result.totals, entries


def subtract(totals: dict[str, Any], rows: Counter[StatusAndReason]) -> dict[str, Any]:
    """Remove rows from the totals of a column.

    Args:
        totals: as `sum_receipts` returns them.
        rows: status and reason → rows to remove. A row without a reason is in the output.
    """
    rejected = Counter[str]()
    status = Counter[str]()
    for (word, reason), count in rows.items():
        status[word] += count
        if reason is not None:
            rejected[reason] += count
    return totals | {
        "records": totals["records"] - rows.total(),
        "out": totals["out"] - (rows.total() - rejected.total()),
        "rejected": dict(sorted((Counter(totals["rejected"]) - rejected).items())),
        "status": dict(sorted((Counter(totals["status"]) - status).items())),
    }


def format_counts(counts: Mapping[str, int]) -> str:
    """Format counts for a message: `{"image:missing": 3}` → `image:missing 3`."""
    return ", ".join(f"{name} {number}" for name, number in counts.items())
