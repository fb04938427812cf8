"""The data type at the centre: a record before its bytes are read, and its sample after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmfeat.records.media_ref import Part

REASONS = {
    "missing": "the record names no such part: its cell is empty, or there is no such file",
    "not_found": "what the record names is not there",
    "outside": "the path leaves the folder of the table",
    "unreadable": "it cannot be read, or its server does not give it",
    "empty": "the file has no bytes, or the text is blank",
    "too_large": "more bytes than --max-file-bytes, or more pixels or samples than are read",
    "undecodable": "the bytes are not what their modality says: no picture, no sound, no UTF-8",
    "malformed_row": "the line of the table cannot be parsed",
    "duplicate": "another record has the same bytes, or a tar a second member of that name",
    "unsafe": "a link, a device, a sparse file or a pickle in a tar",
    "damaged_shard": "the tar ends or breaks before this sample",
    "encoder_failed": "the encoder raised an error on this input alone",
    "not_finite": "the encoder gave NaN, or a value that float16 cannot hold",
}
"""The fixed vocabulary of why a part of a record, or a whole one, cannot be used."""

RESERVED = ("__key__", "status", "reason", "error", "input_row")
"""Columns of our own in per-record tables; a metadata column so named gets a `meta_` before it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One input record before its bytes are read.

    Attributes:
        row: its number in the input, from 0.
        key: its `__key__`; from a source it may be shared by others, from a plan it is unique.
        parts: slot → part, for what the record has; see `mmfeat.records.modalities` for slots.
        metadata: everything else, JSON-ready; goes into the sample's `.json`.
        problems: slot → reason and detail, for parts known to be unusable before they are
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
        sha256: slot → digest of the bytes as they were found, in hex, for pictures and sounds.
        problems: as a record's, with what reading its parts has shown.
    """

    record: Record
    members: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The sample's `__key__`."""
        return self.record.key

    @property
    def reason(self) -> str | None:
        """What is wrong, in words of `REASONS`: `image:not_found, text:missing`."""
        words = ", ".join(_label(name, word) for name, (word, _) in self.problems.items())
        return _readable(words) or None

    @property
    def error(self) -> str | None:
        """What was seen, for a person to read."""
        details = "; ".join(
            f"{_label(name, word)}: {detail}"
            for name, (word, detail) in self.problems.items()
            if detail
        )
        return _readable(details) or None


def _readable(text: str) -> str:
    """Text that tables can hold: a name that is not UTF-8 has its odd bytes spelt out."""
    return text.encode(errors="backslashreplace").decode()


def _label(modality: str, reason: str) -> str:
    return f"{modality}:{reason}" if modality else reason
