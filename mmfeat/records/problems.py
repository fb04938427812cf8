"""The problems of a record as the text of its row, `image:not_found, text:missing`, and back."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from mmfeat.records.modalities import modality_of_slot

REASONS = {
    "missing": "the record does not name this part, or the tar lacks it",
    "not_found": "the file or URL does not exist",
    "outside": "it leaves the folder of the table, or its protocol is not allowed",
    "forbidden_address": "the web server has a private or link-local address",
    "robots_tag": "the web server excludes the file from training by its X-Robots-Tag",
    "unavailable": "a server, a network or a storage failed; --retry-failed tries again",
    "unreadable": "the file cannot be read, or the server refuses it",
    "empty": "the file has no bytes, or the text has no visible character",
    "too_large": "more bytes than --max-file-bytes, or above another limit of a record",
    "undecodable": "the bytes are not an image, audio or UTF-8 text",
    "malformed_row": "the row of the table cannot be parsed",
    "duplicate": "an earlier record has the same bytes, or the tar has this member twice",
    "unsafe": "a link, device, sparse file or pickle in a tar",
    "unnamed": "a member of a tar whose name has no key or no extension",
    "damaged_shard": "the tar is damaged at or before this sample",
    "worker_died": "the record alone crashes its process, or takes more memory than there is",
    "encoder_failed": "the encoder raised an error for this input",
    "not_finite": "the encoder or the model returned NaN, or a value beyond the range of its type",
}
"""Reason → meaning: the fixed vocabulary of why a part, or a whole record, is unusable."""

_MAX_DETAIL = 2000
"""Characters of a detail in a table."""

PASSING_REASON = "unavailable"
"""The reason of failures that can pass. All others are permanent."""

_OLD_PASSING_DETAIL = re.compile(
    r"HTTP (408|429|5\d\d)\b|timed out|not finished within|cut off|"
    r"(NewConnection|NameResolution|Protocol|Connection\w*|RemoteDisconnected|IncompleteRead)\w*: "
)
"""Details of failures that can pass. Stores made before `unavailable` call them `unreadable`."""


class EarlierRow(NamedTuple):
    """The row that an earlier run wrote for a record which is tried again."""

    key: str
    status: str
    reason: str
    error: str

    @property
    def problems(self) -> dict[str, tuple[str, str]]:
        """Slot → reason and detail."""
        return parse_problems(self.reason, self.error)

    @property
    def can_pass(self) -> bool:
        """Whether any problem can pass."""
        return any(reason == PASSING_REASON for reason, _ in self.problems.values())


def format_problems(problems: Mapping[str, tuple[str, str]]) -> tuple[str | None, str | None]:
    """Return `reason` and `error` of a row: all problems, and their details; None if there is none.

    Args:
        problems: slot → reason and detail. The empty slot stands for the whole record.
    """
    labels = {slot: _label(slot, reason) for slot, (reason, _) in problems.items()}
    details = [
        f"{labels[slot]}: {_shorten(detail)}" for slot, (_, detail) in problems.items() if detail
    ]
    reason = _escape_undecodable(", ".join(labels.values())) or None
    return reason, _escape_undecodable("; ".join(details)) or None


def parse_problems(reason: str | None, error: str | None) -> dict[str, tuple[str, str]]:
    """Return the problems of a row: slot → reason and detail.

    Args:
        reason: `reason` of the row.
        error: `error` of the row.
    """
    problems: dict[str, tuple[str, str]] = {}
    for label in (reason or "").split(", "):
        slot, _, word = label.rpartition(":")
        if word in REASONS:
            detail = _find_detail(error or "", label)
            if word == "unreadable" and _OLD_PASSING_DETAIL.search(detail):
                word = PASSING_REASON
            problems[slot] = (word, detail)
    return problems


def has_passing_problem(reason: str) -> bool:
    """Return whether the `reason` of a row names a problem that can pass."""
    return any(label.rpartition(":")[2] == PASSING_REASON for label in reason.split(", "))


def lacks_part(problems: Mapping[str, tuple[str, str]]) -> bool:
    """Return whether a record with these problems lacks a part, now or until it is tried again.

    Parts are the modalities and the metadata. Other members of a tar, such as `.pkl`, are extras.

    Args:
        problems: slot → reason and detail. The empty slot stands for the whole record.
    """
    return any(
        slot in ("", "json") or modality_of_slot(slot) or reason == PASSING_REASON
        for slot, (reason, _) in problems.items()
    )


def _find_detail(error: str, label: str) -> str:
    """Return the detail of one problem from an error such as `text:empty: …; json:…`."""
    details = (part for part in error.split("; ") if part.startswith(f"{label}: "))
    return next(details, "").removeprefix(f"{label}: ")


def _shorten(detail: str) -> str:
    """Cut a detail: it may name a path or a value of any length."""
    return detail if len(detail) <= _MAX_DETAIL else f"{detail[:_MAX_DETAIL]}…"


def _label(slot: str, reason: str) -> str:
    return f"{slot}:{reason}" if slot else reason


def _escape_undecodable(text: str) -> str:
    """Escape bytes that are not UTF-8, since tables hold only valid text."""
    return text.encode(errors="backslashreplace").decode()
