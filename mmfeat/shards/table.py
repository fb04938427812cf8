"""The per-record table of a shard: what became of each record."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mmfeat.records.metadata import arrow_array
from mmfeat.records.modalities import slot_modality
from mmfeat.records.record import RESERVED, Sample


def own_columns(slots: Iterable[str]) -> dict[str, pa.DataType]:
    """Our columns of the table: name → type."""
    columns = {name: pa.string() for name in RESERVED} | {"input_row": pa.int64()}
    for slot in slots:
        columns[status_column(slot)] = pa.string()
        if slot_modality(slot) != "text":
            columns[digest_column(slot)] = pa.string()
    return columns


def status_column(slot: str) -> str:
    """`image` → `image_status`."""
    return f"{slot.replace('.', '_')}_status"


def digest_column(slot: str) -> str:
    """`image` → `image_sha256`."""
    return f"{slot.replace('.', '_')}_sha256"


def metadata_columns(names: Iterable[str], slots: Sequence[str]) -> dict[str, str]:
    """Metadata column → its name in the table, where some names are ours."""
    ours = set(own_columns([*slots, "image", "audio", "text"]))
    columns: dict[str, str] = {}
    for name in names:
        column = name
        while column in ours or column in columns.values():
            column = f"meta_{column}"
        columns[name] = column
    return columns


class ShardRows:
    """The rows of one shard, and their counts.

    Args:
        slots: slots every record is expected to have.
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
        """How many were counted."""
        return self.status.total()

    def count(self, sample: Sample, status: str) -> None:
        """Count a record without giving it a row."""
        reason = sample.reason
        self.status[status] += 1
        if status == "failed":
            self.rejected[str(reason)] += 1
        if reason:
            self.problems[reason] += 1

    def add(self, sample: Sample, status: str) -> None:
        """Count a record and give it a row; the bytes of the sample are let go."""
        self.count(sample, status)
        self.keys.append(sample.key)
        sample.members = {}
        self._samples.append((sample, status))

    def table(self) -> pa.Table:
        """The rows as Arrow: our columns, then the metadata columns."""
        rows = [_own_values(sample, status, self._slots) for sample, status in self._samples]
        arrays = {
            name: pa.array([row[name] for row in rows], kind)
            for name, kind in own_columns(self._slots).items()
        }
        for name, column in metadata_columns(self._kinds, self._slots).items():
            values = [sample.record.metadata.get(name) for sample, _ in self._samples]
            arrays[column] = arrow_array(values, self._kinds[name])
        return pa.table(arrays)


def _own_values(sample: Sample, status: str, slots: Sequence[str]) -> dict[str, Any]:
    row = {
        "__key__": sample.key,
        "status": status,
        "reason": sample.reason,
        "error": sample.error,
        "input_row": sample.record.row,
    }
    whole = sample.problems.get("")
    for slot in slots:
        problem = sample.problems.get(slot) or whole
        row[status_column(slot)] = problem[0] if problem else "ok"
        row[digest_column(slot)] = sample.sha256.get(slot)
    return row
