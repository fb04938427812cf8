"""The table of a shard: one row per input record with its status."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mmfeat.records import (
    MODALITIES,
    OWN_COLUMNS,
    Sample,
    arrow_array,
    arrow_field,
    free_columns,
    modality_of_slot,
)

SHARD_FILES = ("{}.tar", "{}.parquet")
"""The files of a shard, with `{}` for its name."""


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
    return free_columns(names, _standard_columns([*slots, "image", "audio", "text"]))


def _standard_columns(slots: Iterable[str]) -> dict[str, pa.DataType]:
    """Return the columns that every table has: name → type."""
    columns = {name: pa.string() for name in OWN_COLUMNS} | {"input_row": pa.int64()}
    for slot in slots:
        columns[status_column(slot)] = pa.string()
        if modality_of_slot(slot) != "text":
            columns[sha256_column(slot)] = pa.string()
    return columns


def find_standard_columns(names: Sequence[str]) -> set[str]:
    """Return which columns of a table are not metadata.

    They come first, so a later `order_status` is metadata.

    Args:
        names: all columns, in order.
    """
    found = set(OWN_COLUMNS)
    rest = [name for name in names if name not in found]
    while rest and (columns := _slot_columns(rest[0])) and columns == rest[: len(columns)]:
        found.update(columns)
        rest = rest[len(columns) :]
    return found


def _slot_columns(status: str) -> list[str]:
    """Return the columns of the slot with a status column; none if the name is no such column."""
    name = status.removesuffix("_status")
    modality = name.partition("_")[0]
    if name == status or modality not in MODALITIES:
        return []
    return [status] if modality == "text" else [status, f"{name}_sha256"]


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
        columns = {
            pa.field(name, type_): pa.array([row[name] for row in rows], type_)
            for name, type_ in _standard_columns(self._slots).items()
        }
        for name, column in metadata_columns(self._kinds, self._slots).items():
            kind = self._kinds[name]
            values = arrow_array(
                [sample.record.metadata.get(name) for sample, _ in self._samples], kind
            )
            columns[arrow_field(column, kind, values.type)] = values
        return pa.table(list(columns.values()), pa.schema(list(columns)))


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
