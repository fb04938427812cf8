"""Records as lines that an external sort can order.

    ORDER KEY⇥ROW⇥BYTES⇥LACKS⇥PARTS,METADATA,PROBLEMS

All ASCII. ORDER is a hash of the key, KEY is JSON; a `?` after BYTES says that some are not known.
Sorting lines sorts records by the hash of their key.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby

from mmfeat.records.keys import key_hash, unique_key
from mmfeat.records.media_ref import known_size, ref_from_json, ref_to_json
from mmfeat.records.metadata import common_kind, value_kind
from mmfeat.records.record import Record, Sample

Line = bytes

_OF_A_MEMBER = 1024
"""Bytes a member of a tar costs beside its content, header and padding, in the size of a shard."""

_json = json.JSONEncoder(separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii


def prefix_of(key: str) -> bytes:
    """What a line begins with: equal for equal keys and for no others."""
    return f"{key_hash(key)} {_quoted(key)}".encode()


def line_of(record: Record, slots: tuple[str, ...], kinds: dict[str, str | None]) -> Line:
    """A record as a line.

    Args:
        record: the record.
        slots: what every record is expected to have.
        kinds: metadata column → kind of the values so far; widened to hold the record's.
    """
    for name, value in record.metadata.items():
        kind = value_kind(value)
        if name not in kinds or kinds[name] != kind:
            kinds[name] = common_kind(kinds.get(name), kind)
    total, known = 0, True
    for part in record.media.values():
        size = known_size(part)
        total += _OF_A_MEMBER + (size or 0)
        known = known and size is not None
    lacks = ", ".join([slot for slot in slots if slot not in record.media])
    return (
        f"{key_hash(record.key)} {_quoted(record.key)}\t{record.row:012d}\t"
        f"{total}{'' if known else '?'}\t{_quoted(lacks)}\t{_payload(record)}\n"
    ).encode()


def by_row(line: Line) -> Line:
    """The same line, to be sorted by its row."""
    key, row, rest = line.split(b"\t", 2)
    return b"%s %s\t%s\t%s" % (row, key.split(b" ", 1)[1], row, rest)


def renamed(line: Line, key: str) -> Line:
    """The line of the same record under another key, in that key's place."""
    return prefix_of(key) + line[line.index(b"\t") :]


def bytes_of(line: Line) -> int:
    """Known bytes of the record."""
    return int(line.split(b"\t", 3)[2].rstrip(b"?"))


def with_unique_keys(
    lines: Iterable[Line],
    same_key: Callable[[Record, Record], None] | None,
    tildes: Callable[[], int],
) -> Iterator[Line]:
    """Sorted lines; records that share a key, or have none, get keys that no other has.

    Args:
        lines: sorted.
        same_key: called with two records that share a key, to refuse.
        tildes: the most that end the key of any record, see `records.keys`; known once a line was
            drawn, since sorting has seen all by then.
    """
    for prefix, group in groupby(lines, key=lambda line: line[: line.index(b"\t")]):
        sharing = iter(group)
        first, second = next(sharing), next(sharing, None)
        empty = prefix.endswith(b' ""')
        if second is None and not empty:
            yield first
            continue
        if second and not empty and same_key:
            same_key(_record_of(first), _record_of(second))
        for line in chain([first], [second] if second else [], sharing):
            yield _made_unique(line, tildes())


def _made_unique(line: Line, tildes: int) -> Line:
    """The line under a key that no other record has; its place in the order stays."""
    prefix, row, rest = line.split(b"\t", 2)
    order, key = prefix.split(b" ", 1)
    unique = _quoted(unique_key(json.loads(key), int(row), tildes)).encode()
    return b"%s %s\t%s\t%s" % (order, unique, row, rest)


def planned(line: Line) -> tuple[bytes, bytes, bool]:
    """What a plan holds of a line.

    Returns:
        The record, as `load` reads it; the slots it lacks, as JSON; whether nothing is known to be
        wrong with it.
    """
    prefix, row, _, lacks, payload = line.split(b"\t", 4)
    record = b"[%d,%s,%s]\n" % (int(row), prefix.split(b" ", 1)[1], payload[:-1])
    return record, lacks, payload.endswith(b",{}\n")


def is_sized(line: Line) -> bool:
    """Whether all bytes of the record are known."""
    return not line.split(b"\t", 3)[2].endswith(b"?")


def reason_of(record: bytes) -> str:
    """What is known to be wrong with a record of a plan."""
    loaded = load(record)
    return Sample(loaded, problems=dict(loaded.problems)).reason or ""


def dump(record: Record) -> bytes:
    """A record as a plan holds it."""
    return f"[{record.row},{_quoted(record.key)},{_payload(record)}]\n".encode()


def load(line: bytes) -> Record:
    """A record of a plan."""
    row, key, parts, metadata, problems = json.loads(line)
    return Record(
        row,
        key,
        {slot: ref_from_json(fields) for slot, fields in parts.items()},
        metadata,
        {slot: (reason, detail) for slot, (reason, detail) in problems.items()},
    )


def _payload(record: Record) -> str:
    """Parts, metadata and problems as ASCII JSON; a name that is not UTF-8 survives as it is."""
    parts = {slot: ref_to_json(part) for slot, part in record.media.items()}
    return _json((parts, record.metadata, record.problems))[1:-1]


def _record_of(line: Line) -> Record:
    return load(planned(line)[0])
