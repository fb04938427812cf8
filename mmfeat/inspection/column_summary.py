"""Summarize a column of rows: how many values it has, which, and how often."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.records import to_json_value

_MAX_DISTINCT = 1000
"""Values that are counted one by one. A column with more has texts or numbers, not classes."""

_SHOWN = 12
_MAX_CHARACTERS = 200
"""Characters of a value that is counted. A column with a longer one has texts."""


@dataclass
class ColumnSummary:
    """Counts of the values of a column.

    Attributes:
        type: type of the column, as Arrow names it.
        filled: rows with a value that is not empty.
        counts: value → rows; empty if there are more than `_MAX_DISTINCT`.
        low, high: smallest and largest number; None for other types.
    """

    type: str
    filled: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    low: float | None = None
    high: float | None = None
    _total: float = 0.0
    _too_many: bool = False

    def add(self, column: pa.ChunkedArray) -> None:
        """Add the values of a batch."""
        values = column.drop_null()
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = values.filter(pc.not_equal(values, ""))
        self.filled += len(values)
        is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        if is_number and len(values):
            self._add_numbers(values)
        if not self._too_many:
            self._count(values)

    def _add_numbers(self, values: pa.ChunkedArray) -> None:
        numbers = values.cast(pa.float64(), safe=False)
        numbers = numbers.filter(pc.is_finite(numbers))
        if len(numbers):
            low, high = pc.min_max(numbers).as_py().values()
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
            self._total += pc.sum(numbers).as_py()

    def _count(self, values: pa.ChunkedArray) -> None:
        if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            values = pc.list_flatten(values)
        if pa.types.is_nested(values.type) or pa.types.is_floating(values.type):
            self._too_many = True
            return
        counted = pc.value_counts(values.combine_chunks())
        names = [str(to_json_value(value)) for value in counted.field("values").to_pylist()]
        self.counts.update(dict(zip(names, counted.field("counts").to_pylist(), strict=True)))
        if len(self.counts) > _MAX_DISTINCT or max(map(len, names), default=0) > _MAX_CHARACTERS:
            self._too_many = True
            self.counts.clear()

    def to_json(self) -> dict[str, Any]:
        """Return the summary, JSON-ready.

        Returns:
            `type`, `filled`; `distinct` and `most_frequent` if there are few values; `min`, `mean`
            and `max` of numbers.
        """
        facts: dict[str, Any] = {"type": self.type, "filled": self.filled}
        if self.counts:
            facts["distinct"] = len(self.counts)
            ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
            facts["most_frequent"] = dict(ordered[:_SHOWN])
        if self.low is not None and self.filled:
            mean = self._total / self.filled
            facts |= {"min": self.low, "mean": round(mean, 6), "max": self.high}
        return facts
