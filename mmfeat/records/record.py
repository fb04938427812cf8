"""The central data types: a record before its bytes are read, and the sample after."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmfeat.records.media_ref import MediaRef
from mmfeat.records.problems import EarlierRow, format_problems, lacks_part

STATUS_COLUMNS = ("__key__", "status", "reason", "error")

OWN_COLUMNS = (*STATUS_COLUMNS, "input_row")
"""Columns that mmfeat writes into every per-record table. A metadata column of the same name gets
the prefix `meta_`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One input record before its bytes are read.

    Attributes:
        row: number of the record in the input, from 0.
        key: its `__key__`. Keys from a source may repeat; keys in a plan are unique.
        media: slot → reference to its bytes; `mmfeat.records.modalities` defines slots.
        metadata: all other values, JSON-ready; written to the sample's `.json`.
        problems: slot → reason and detail, for parts known to be unusable before they are
            read. The empty slot stands for the whole record.
        earlier: the row of an earlier run, if the record is tried again.
    """

    row: int
    key: str
    media: Mapping[str, MediaRef] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    problems: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    earlier: EarlierRow | None = None


@dataclass(slots=True)
class Sample:
    """A record with its bytes.

    Attributes:
        members: member extension → bytes, usable parts only, in the order they are written.
        problems: slot → reason and detail, those of the record and those found while reading.
        sha256: slot → hex digest of the original bytes, for images and audio.
    """

    record: Record
    members: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The `__key__` of the sample."""
        return self.record.key

    def total_bytes(self) -> int:
        """Return the size of all members."""
        return sum(map(len, self.members.values()))

    def status(self, required: Collection[str] = ()) -> str:
        """Return `ok`, `partial` if some parts are unusable, or `failed` if all are.

        Args:
            required: slots without which the sample is `failed`.
        """
        if not self.members or any(slot in self.problems for slot in required):
            return "failed"
        return "partial" if lacks_part(self.problems) else "ok"

    @property
    def reason(self) -> str | None:
        """All problems in words of `REASONS`: `image:not_found, text:missing`."""
        return format_problems(self.problems)[0]

    @property
    def error(self) -> str | None:
        """The details of all problems as readable text."""
        return format_problems(self.problems)[1]
