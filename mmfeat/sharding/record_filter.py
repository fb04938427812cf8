"""Which records of an input are planned, and under which key.

A list of keys is joined with the records by two external sorts, so it may be as long as it likes.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from mmfeat.records.keys import suffix_tildes
from mmfeat.records.record import Record
from mmfeat.sharding.external_sort import external_sort
from mmfeat.sharding.plan_codec import Line, prefix_of, renamed
from mmfeat.sharding.selection import Condition


def _same(text: str) -> str:
    return text


@dataclass(frozen=True)
class Choice:
    """Which records are planned, and under which key.

    Attributes:
        where: where given, records that do not meet it are left out.
        keys: where given, records whose `key_of` is not among them are left out; the second of
            each pair, where it is not empty, becomes the record's key.
        key_of: see `keys`.
        fold: another way to write one of `keys`, by which it is found too.
        same_key: called with two records that share a key, to refuse; else both are told apart
            by a `~` and their row numbers.
    """

    where: Condition | None = None
    keys: Iterable[tuple[str, str]] | None = None
    key_of: Callable[[Record], str] = lambda record: record.key
    fold: Callable[[str], str] = _same
    same_key: Callable[[Record, Record], None] | None = None


@dataclass
class Count:
    """What was seen while choosing.

    Attributes:
        read: records of the input.
        absent: different keys that were wanted and that no record has.
        tildes: the most that end a key.
    """

    read: int = 0
    absent: int = 0
    tildes: int = 0


def chosen(
    records: Iterable[Record],
    choice: Choice,
    line_of: Callable[[Record], Line],
    count: Count,
    run_bytes: int,
) -> Iterator[Line]:
    """The lines of the records that are wanted.

    Args:
        records: all of them, streamed.
        choice: what is wanted.
        line_of: makes the line of a record.
        count: is kept up while lines are drawn.
        run_bytes: bytes of lines sorted in memory at a time.
    """
    met = _meeting(records, choice.where, count)
    if choice.keys is None:
        return map(line_of, met)

    def looked_up() -> Iterator[bytes]:
        for record in met:
            text = choice.key_of(record)
            yield b"%s\t%s\t%s" % (prefix_of(choice.fold(text)), _json(text), line_of(record))

    wanted = (
        b"%s\t%s\t%s\n" % (prefix_of(choice.fold(key)), _json(key), _json(new))
        for key, new in choice.keys
    )
    return _joined(external_sort(looked_up(), run_bytes), external_sort(wanted, run_bytes), count)


def _meeting(records: Iterable[Record], where: Condition | None, count: Count) -> Iterator[Record]:
    for record in records:
        count.read += 1
        if "~" in record.key:
            count.tildes = max(count.tildes, suffix_tildes(record.key))
        if where is None or where(record):
            yield record


def _joined(lines: Iterator[bytes], wanted: Iterator[bytes], count: Count) -> Iterator[Line]:
    """The lines of records that are wanted; both sides begin with what they are sorted by."""
    line = next(lines, b"")
    for prefix, group in groupby(wanted, key=lambda row: row[: row.index(b"\t")]):
        names = dict(row[len(prefix) + 1 : -1].split(b"\t") for row in group)
        folded = prefix.split(b" ", 1)[1]
        found = set()
        while line and line[: line.index(b"\t")] < prefix:
            line = next(lines, b"")
        while line and line[: line.index(b"\t")] == prefix:
            own, record = line[len(prefix) + 1 :].split(b"\t", 1)
            if own in names or own == folded:
                found.add(own)
                new = json.loads(names.get(own, b'""'))
                yield renamed(record, new) if new else record
            line = next(lines, b"")
        if folded not in found:
            count.absent += len(names.keys() - found)


def _json(text: str) -> bytes:
    return json.encoder.encode_basestring_ascii(text).encode()
