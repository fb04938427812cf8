"""The data type at the centre: a record before its bytes are read, and its sample after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REASONS = {
    "missing": "the record names no such part: its cell is empty, or there is no such file",
    "not_found": "the file that the record names is not there",
    "outside": "the path leaves the folder of the table",
    "unreadable": "the file is there and cannot be read",
    "empty": "the file has no bytes, or the text is blank",
    "too_large": "more bytes than --max-file-bytes, or more pixels than a picture may have",
    "undecodable": "the bytes are not what their modality says: no picture, no UTF-8",
    "malformed_row": "the line of the table cannot be parsed",
    "damaged_shard": "the tar ends or breaks before this sample",
    "encoder_failed": "the encoder raised an error on this input alone",
    "not_finite": "the encoder gave NaN, or a value that float16 cannot hold",
}
"""The fixed vocabulary of why a part of a record, or a whole one, cannot be used."""

RESERVED = ("__key__", "status", "reason", "error", "input_row")
"""Columns of our own in per-record tables; a metadata column so named gets a `meta_` before it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One modality of a record, not yet read: its content, or the path of it."""

    value: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One input record before its bytes are read.

    Attributes:
        row: its number in the input, from 0.
        key: its `__key__`; from a source it may be shared by others, from a plan it is unique.
        parts: modality → part, for what the record has.
        metadata: everything else, JSON-ready; goes into the sample's `.json`.
        problems: modality → reason and detail, for parts known to be unusable before they are
            read; under the empty name what makes the record as a whole unusable.
    """

    row: int
    key: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    problems: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Sample:
    """One record with its bytes.

    Attributes:
        members: extension → content, the usable parts only, in the order they are written.
        problems: as a record's, with what reading its parts has shown.
    """

    record: Record
    members: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The sample's `__key__`."""
        return self.record.key

    @property
    def reason(self) -> str | None:
        """What is wrong, in words of `REASONS`: `image:not_found, text:missing`."""
        return ", ".join(_label(name, word) for name, (word, _) in self.problems.items()) or None

    @property
    def error(self) -> str | None:
        """What was seen, for a person to read."""
        return "; ".join(
            f"{_label(name, word)}: {detail}"
            for name, (word, detail) in self.problems.items()
            if detail
        ) or None  # fmt: skip


def _label(modality: str, reason: str) -> str:
    return f"{modality}:{reason}" if modality else reason
