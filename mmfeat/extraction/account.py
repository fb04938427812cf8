"""Count the records of a feature store: with every feature, with some, with none."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass
class RecordAccount:
    """The records of a feature store, counted over all its columns.

    Attributes:
        columns: names of all columns.
        status: `ok`, `partial`, `failed` → records.
        problems: the columns that a record lacks, as `image:missing, text:empty` → records.
        rejected: the same of records without any feature.
    """

    columns: list[str]
    status: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def add_shard(self, records: int, rejected: Mapping[str, Mapping[str, int]]) -> bool:
        """Count the records of a shard by the receipts of its columns.

        Args:
            records: records of the shard.
            rejected: column → reason → rows without a feature.

        Returns:
            Whether it was possible. If two columns lack rows, only the rows tell which records
            lack both.
        """
        incomplete = [name for name in self.columns if rejected[name]]
        if len(incomplete) > 1:
            return False
        self.status["ok"] += records
        for name in incomplete:
            for reason, count in rejected[name].items():
                self.status["ok"] -= count
                self._add_problem(f"{name}:{reason}", count, failed=len(self.columns) == 1)
        return True

    def add_rows(self, reasons: pa.Table) -> None:
        """Count records by their rows.

        Args:
            reasons: one column per feature column: why a row has no feature; null if it has one.
        """
        groups = reasons.group_by(self.columns).aggregate([([], "count_all")])
        for group in groups.to_pylist():
            count = group.pop("count_all")
            labels = [f"{name}:{group[name]}" for name in self.columns if group[name] is not None]
            if labels:
                failed = len(labels) == len(self.columns)
                self._add_problem(", ".join(labels), count, failed=failed)
            else:
                self.status["ok"] += count

    def _add_problem(self, label: str, count: int, *, failed: bool) -> None:
        self.status["failed" if failed else "partial"] += count
        self.problems[label] += count
        if failed:
            self.rejected[label] += count

    @property
    def totals(self) -> dict[str, Any]:
        """The counts, as they stand in the totals of a manifest."""
        records = self.status.total()
        counters = {
            "rejected": self.rejected, "status": self.status, "problems": self.problems
        }  # fmt: skip
        return {
            "records": records,
            "out": records - self.rejected.total(),
            **{name: dict(sorted((+counter).items())) for name, counter in counters.items()},
        }
