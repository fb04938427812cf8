"""The table of a shard: one row per input record with its status."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mmfeat.records import OWN_COLUMNS, Sample, arrow_array, modality_of_slot


def status_column(slot: str) -> str:
    """Return the name of the status column of a slot: `image` → `image_status`."""
    return f"{slot.replace('.', '_')}_status"


def sha256_column(slot: str) -> str:
    """Return the name of the digest column of a slot: `image` → `image_sha256`."""
    return f"{slot.replace('.', '_')}_sha256"


def metadata_columns(names: Iterable[str], slots: Sequence[str]) -> dict[str, str]:
    """Map metadata columns to their names in the table.

    A name that a standard column has gets the prefix `meta_`.
    """
    reserved = set(_standard_columns([*slots, "image", "audio", "text"]))
    columns: dict[str, str] = {}
    for name in names:
        column = name
        while column in reserved or column in columns.values():
            column = f"meta_{column}"
        columns[name] = column
    return columns


def _standard_columns(slots: Iterable[str]) -> dict[str, pa.DataType]:
    """Return the columns that every table has: name → type."""
    columns = {name: pa.string() for name in OWN_COLUMNS} | {"input_row": pa.int64()}
    for slot in slots:
        columns[status_column(slot)] = pa.string()
        if modality_of_slot(slot) != "text":
            columns[sha256_column(slot)] = pa.string()
    return columns


class ShardTable:
    """Collects the rows of one shard and counts its records.

    Args:
        slots: slots that every record is expected to have.
        kinds: metadata column → kind.
    """

    def __init__(self, slots: Sequence[str], kinds: Mapping[str, str]) -> None:
        self._slots, self._kinds = slots, kinds
        self._samples: list[tuple[Sample, str]] = []
        self.keys: list[str] = []
        self.status: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()

    @property
    def records(self) -> int:
        """The number of counted records."""
        return self.status.total()

    def count(self, sample: Sample, status: str) -> None:
        """Count a record without adding a row."""
        reason = sample.reason
        self.status[status] += 1
        if status == "failed":
            self.rejected[str(reason)] += 1
        if reason:
            self.problems[reason] += 1

    def append(self, sample: Sample, status: str) -> None:
        """Count a record and add a row. The bytes of the sample are released."""
        self.count(sample, status)
        self.keys.append(sample.key)
        sample.members = {}
        self._samples.append((sample, status))

    def to_arrow(self) -> pa.Table:
        """Return the rows: standard columns first, then metadata columns."""
        rows = [_standard_values(sample, status, self._slots) for sample, status in self._samples]
        arrays = {
            name: pa.array([row[name] for row in rows], kind)
            for name, kind in _standard_columns(self._slots).items()
        }
        for name, column in metadata_columns(self._kinds, self._slots).items():
            values = [sample.record.metadata.get(name) for sample, _ in self._samples]
            arrays[column] = arrow_array(values, self._kinds[name])
        return pa.table(arrays)


def _standard_values(sample: Sample, status: str, slots: Sequence[str]) -> dict[str, Any]:
    row = {
        "__key__": sample.key,
        "status": status,
        "reason": sample.reason,
        "error": sample.error,
        "input_row": sample.record.row,
    }
    record_problem = sample.problems.get("")
    for slot in slots:
        problem = sample.problems.get(slot) or record_problem
        row[status_column(slot)] = problem[0] if problem else "ok"
        row[sha256_column(slot)] = sample.sha256.get(slot)
    return row
