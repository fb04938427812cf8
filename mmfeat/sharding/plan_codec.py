"""Records as lines that an external sort can order, and as lines of a plan.

    HASH KEY⇥ROW⇥BYTES⇥MISSING⇥MEDIA,METADATA,PROBLEMS    a line to sort
    [ROW,KEY,MEDIA,METADATA,PROBLEMS]                      a line of a plan
    [ROW,KEY,MEDIA,METADATA,PROBLEMS,EARLIER]              the same of a record tried again

All ASCII. HASH is the hash of the key, so sorted lines are in the order of a hash store. KEY is
JSON. MISSING are the expected slots without media. A `?` after BYTES marks a lower bound.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.records import (
    EarlierRow,
    Record,
    Sample,
    check_columns,
    common_kind,
    key_hash,
    known_size,
    ref_from_json,
    ref_to_json,
    unique_key,
    value_kind,
)

Line = bytes

_MEMBER_OVERHEAD = 1024
"""Bytes of a tar member besides its content: header and padding."""

_to_json = json.JSONEncoder(separators=(",", ":")).encode
_quote = json.encoder.encode_basestring_ascii


def sort_prefix(key: str) -> bytes:
    """Return the start of a line: equal for equal keys only."""
    return f"{key_hash(key)} {_quote(key)}".encode()


class LineEncoder:
    """Encodes records as lines to sort.

    Args:
        slots: slots that every record is expected to have.

    Attributes:
        kinds: metadata column → kind of its values so far.
    """

    def __init__(self, slots: Iterable[str]) -> None:
        self._slots = tuple(slots)
        self.kinds: dict[str, str | None] = {}

    def encode(self, record: Record) -> Line:
        """Return the line of a record and widen the kinds of its metadata columns."""
        for name, value in record.metadata.items():
            kind = value_kind(value)
            if name not in self.kinds or self.kinds[name] != kind:
                self.kinds[name] = common_kind(self.kinds.get(name), kind)
                check_columns(self.kinds, "the input")
        total, all_known = 0, True
        for ref in record.media.values():
            size = known_size(ref)
            total += _MEMBER_OVERHEAD + (size or 0)
            all_known = all_known and size is not None
        missing = ", ".join([slot for slot in self._slots if slot not in record.media])
        return (
            f"{key_hash(record.key)} {_quote(record.key)}\t{record.row:012d}\t"
            f"{total}{'' if all_known else '?'}\t{_quote(missing)}\t{_dump_content(record)}\n"
        ).encode()


def by_row(line: Line) -> Line:
    """Return the line with its row instead of the hash, to restore the input order by sorting."""
    prefix, row, rest = line.split(b"\t", 2)
    return b"%s %s\t%s\t%s" % (row, prefix.split(b" ", 1)[1], row, rest)


def set_earlier(line: Line, earlier: EarlierRow) -> Line:
    """Return the line of a record that is tried again: with an earlier row, and with its key."""
    content = line[line.index(b"\t") : -1]
    return b"%s%s,%s\n" % (sort_prefix(earlier.key), content, _to_json(earlier).encode())


def known_bytes(line: Line) -> int:
    """Return the known bytes of the record in a shard."""
    return int(line.split(b"\t", 3)[2].rstrip(b"?"))


def all_sizes_known(line: Line) -> bool:
    """Return whether the sizes of all media of the record are known."""
    return not line.split(b"\t", 3)[2].endswith(b"?")


def make_keys_unique(
    lines: Iterable[Line], suffix_tildes: Callable[[], int], *, refuse_duplicates: bool
) -> Iterator[Line]:
    """Add a suffix to the keys of records that share one, or have none.

    Args:
        lines: sorted lines.
        suffix_tildes: returns the `tildes` of `mmfeat.records.keys.unique_key`. Called after the
            first line is drawn: the sort has then seen all records.
        refuse_duplicates: whether records that share a key are an error.

    Raises:
        MmfeatError: two records share a key.
    """
    for prefix, group in groupby(lines, key=lambda line: line[: line.index(b"\t")]):
        sharing = iter(group)
        first, second = next(sharing), next(sharing, None)
        has_key = not prefix.endswith(b' ""')
        if has_key and second is None:
            yield first
            continue
        if has_key and second and refuse_duplicates:
            _refuse_shared_key(first, second)
        for line in chain([first], [second] if second else [], sharing):
            prefix, row, rest = line.split(b"\t", 2)
            hash_, key = prefix.split(b" ", 1)
            unique = _quote(unique_key(json.loads(key), int(row), suffix_tildes())).encode()
            # The old hash stays: the record keeps its place in the order.
            yield b"%s %s\t%s\t%s" % (hash_, unique, row, rest)


def _refuse_shared_key(*lines: Line) -> None:
    first, second = (load_record(to_plan_line(line)[0]) for line in lines)
    raise MmfeatError(
        f"keys must be unique: rows {first.row} and {second.row} of the input (counted from 0) "
        "share one",
        got=first.key,
        cure="Name another --key-column, or add suffixes with --duplicate-keys suffix",
    )


def to_plan_line(line: Line) -> tuple[bytes, bytes, bool]:
    """Convert a sorted line to a line of a plan.

    Returns:
        The line of the plan; the missing slots, as JSON; whether the record has problems.
    """
    prefix, row, _, missing, content = line.split(b"\t", 4)
    plan_line = b"[%d,%s,%s]\n" % (int(row), prefix.split(b" ", 1)[1], content[:-1])
    return plan_line, missing, not content.endswith(b",{}\n")


def dump_record(record: Record) -> bytes:
    """Encode a record as a line of a plan."""
    return f"[{record.row},{_quote(record.key)},{_dump_content(record)}]\n".encode()


def load_record(plan_line: bytes) -> Record:
    """Decode a line of a plan."""
    row, key, media, metadata, problems, *earlier = json.loads(plan_line)
    return Record(
        row,
        key,
        {slot: ref_from_json(values) for slot, values in media.items()},
        metadata,
        {slot: (reason, detail) for slot, (reason, detail) in problems.items()},
        EarlierRow(*earlier[0]) if earlier else None,
    )


def known_problems(plan_line: bytes) -> str:
    """Return the problems of a record that are known before reading, as its `reason`."""
    record = load_record(plan_line)
    return Sample(record, problems=dict(record.problems)).reason or ""


def _dump_content(record: Record) -> str:
    """Return media, metadata and problems as ASCII JSON; names that are not UTF-8 survive."""
    media = {slot: ref_to_json(ref) for slot, ref in record.media.items()}
    values: list[Any] = [media, record.metadata, record.problems]
    if record.earlier:
        values.append(record.earlier)
    return _to_json(values)[1:-1]
