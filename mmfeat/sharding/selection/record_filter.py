"""Select the records of an input: by a condition on their metadata and by a list of keys."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from mmfeat.records import EarlierRow, Record, key_text, safe_key, suffix_tildes
from mmfeat.sharding.plan_codec import Line, set_earlier, sort_prefix
from mmfeat.sharding.selection.condition import Condition
from mmfeat.sharding.selection.key_file import read_keys
from mmfeat.system import external_sort


@dataclass(frozen=True)
class RecordFilter:
    """Which records are planned.

    Attributes:
        condition: drops records that do not meet it; None = keep all.
        keys: drops records whose `lookup` is not among these keys; None = keep all. A key may come
            with a row of an earlier run, whose key the record then gets.
        lookup: the text of a record to find in `keys`.
        normalize: another form of a key in `keys`, under which it is found too.
    """

    condition: Condition | None = None
    keys: Iterable[tuple[str, EarlierRow | None]] | None = None
    lookup: Callable[[Record], str] = lambda record: record.key
    normalize: Callable[[str], str] = lambda key: key


@dataclass
class InputCounts:
    """What was counted while filtering.

    Attributes:
        records: records of the input.
        absent_keys: distinct keys of the filter that no record has.
        suffix_tildes: maximum of `mmfeat.records.keys.suffix_tildes` over all records.
    """

    records: int = 0
    absent_keys: int = 0
    suffix_tildes: int = 0


def make_filter(where: str, key_file: str, keys_column: str) -> RecordFilter:
    """Return the filter of the options --where, --keys and --keys-column."""
    condition = Condition(where) if where else None
    if not key_file:
        return RecordFilter(condition)
    keys = ((key, None) for key in read_keys(key_file))
    if not keys_column:
        return RecordFilter(condition, keys, normalize=safe_key)

    def look_up(record: Record) -> str:
        return key_text(record.metadata.get(keys_column))

    return RecordFilter(condition, keys, look_up)


def match_condition(
    records: Iterable[Record], condition: Condition | None, counts: InputCounts
) -> Iterator[Record]:
    """Yield the records that meet the condition; count all."""
    for record in records:
        counts.records += 1
        if "~" in record.key:
            counts.suffix_tildes = max(counts.suffix_tildes, suffix_tildes(record.key))
        if condition is None or condition(record):
            yield record


def match_keys(
    encoded: Iterable[tuple[Record, Line]],
    record_filter: RecordFilter,
    counts: InputCounts,
    run_bytes: int,
) -> Iterator[Line]:
    """Yield the lines of the records whose key is in the filter's list, in any order.

    Two external sorts join records and keys, so both may be larger than memory.
    """
    if record_filter.keys is None:
        return (line for _, line in encoded)
    normalize = record_filter.normalize
    candidates = (
        b"%s\t%s\t%s" % (sort_prefix(normalize(text)), _to_json(text), line)
        for record, line in encoded
        for text in (record_filter.lookup(record),)
    )
    keys = (
        b"%s\t%s\t%s\n" % (sort_prefix(normalize(key)), _to_json(key), json.dumps(earlier).encode())
        for key, earlier in record_filter.keys
    )
    return _merge_join(external_sort(candidates, run_bytes), external_sort(keys, run_bytes), counts)


def _merge_join(
    candidates: Iterator[bytes], keys: Iterator[bytes], counts: InputCounts
) -> Iterator[Line]:
    """Yield the lines of candidates with a key; both inputs are sorted by their prefix."""
    candidate = next(candidates, b"")
    for prefix, group in groupby(keys, key=lambda line: line[: line.index(b"\t")]):
        earlier_rows = dict(line[len(prefix) + 1 : -1].split(b"\t") for line in group)
        normalized = prefix.split(b" ", 1)[1]
        matched = set()
        while candidate and candidate[: candidate.index(b"\t")] < prefix:
            candidate = next(candidates, b"")
        while candidate and candidate[: candidate.index(b"\t")] == prefix:
            text, line = candidate[len(prefix) + 1 :].split(b"\t", 1)
            if text in earlier_rows or text == normalized:
                matched.add(text)
                values = json.loads(earlier_rows.get(text, b"null"))
                yield set_earlier(line, EarlierRow(*values)) if values else line
            candidate = next(candidates, b"")
        if normalized not in matched:
            counts.absent_keys += len(earlier_rows.keys() - matched)


def _to_json(text: str) -> bytes:
    return json.encoder.encode_basestring_ascii(text).encode()
