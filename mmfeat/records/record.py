"""The central data types: a record before its bytes are read, and the sample after."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmfeat.records.media_ref import MediaRef

REASONS = {
    "missing": "the record does not name this part, or the tar lacks it",
    "not_found": "the file or URL does not exist",
    "outside": "the path leaves the folder of the table",
    "unreadable": "the file cannot be read, or the server refuses it",
    "empty": "the file has no bytes, or the text is blank",
    "too_large": "more bytes than --max-file-bytes, or more pixels or samples than the limit",
    "undecodable": "the bytes are not an image, audio or UTF-8 text",
    "malformed_row": "the row of the table cannot be parsed",
    "duplicate": "an earlier record has the same bytes, or the tar has this member twice",
    "unsafe": "a link, device, sparse file or pickle in a tar",
    "damaged_shard": "the tar is damaged at or before this sample",
    "encoder_failed": "the encoder raised an error for this input",
    "not_finite": "the encoder returned NaN, or a value beyond the range of float16",
}
"""Reason → meaning: the fixed vocabulary of why a part, or a whole record, is unusable."""

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
    """

    row: int
    key: str
    media: Mapping[str, MediaRef] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    problems: Mapping[str, tuple[str, str]] = field(default_factory=dict)


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
        """Return `ok`, `partial` if some parts are unusable, or `failed`.

        Args:
            required: slots without which the sample is `failed`.
        """
        if not self.members or any(slot in self.problems for slot in required):
            return "failed"
        return "partial" if self.problems else "ok"

    @property
    def reason(self) -> str | None:
        """All problems in words of `REASONS`: `image:not_found, text:missing`."""
        labels = [_problem_label(slot, reason) for slot, (reason, _) in self.problems.items()]
        return _escape_undecodable(", ".join(labels)) or None

    @property
    def error(self) -> str | None:
        """The details of all problems as readable text."""
        details = [
            f"{_problem_label(slot, reason)}: {detail}"
            for slot, (reason, detail) in self.problems.items()
            if detail
        ]
        return _escape_undecodable("; ".join(details)) or None


def _problem_label(slot: str, reason: str) -> str:
    return f"{slot}:{reason}" if slot else reason


def _escape_undecodable(text: str) -> str:
    """Escape bytes that are not UTF-8, since tables hold only valid text."""
    return text.encode(errors="backslashreplace").decode()
