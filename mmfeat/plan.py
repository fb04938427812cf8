"""The plan of a sharding run: which record goes into which shard, before any media is read.

Records are ordered by a hash of their key, so that any block of the store is an unbiased draw, or
left in the order of the input. The order comes from external merge sorts over references and
metadata: memory holds one run of lines, whatever the size of the input.

    OUTPUT/_plan/00000.jsonl    the records of shard 00000
    OUTPUT/_plan/plan.json      written last: a plan without it is made again
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, groupby, islice
from typing import Literal

from mmfeat import storage
from mmfeat.errors import MmfeatError
from mmfeat.keys import order_of, tildes_of, unique_key
from mmfeat.metadata import common_kind, kind_of
from mmfeat.part import dump_part, load_part, size_of
from mmfeat.sample import Record, Sample
from mmfeat.selection import Condition
from mmfeat.sorting import RUN_BYTES, external_sort
from mmfeat.store import shard_name

PLAN = "_plan"

Shuffle = Literal["hash", "none"]

_WRITTEN = 1000
"""Lines of a plan written at a time."""

_OF_A_MEMBER = 1024
"""Bytes a member of a tar costs beside its content, header and padding, in the size of a shard."""

_json = json.JSONEncoder(separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii

_Line = bytes
"""`ORDER KEY⇥ROW⇥BYTES⇥LACKS⇥PARTS,METADATA,PROBLEMS`, ASCII; sorting lines sorts records."""


@dataclass(frozen=True)
class Layout:
    """How records become shards.

    Attributes:
        samples: records in a shard at most.
        bytes: bytes of a shard at most, as far as sizes are known; a larger record stands alone.
        shuffle: `hash` for the order of a hash of the key, `none` for that of the input.
        name: printf pattern of the shards' names.
        first: number of the first shard.
    """

    samples: int
    bytes: int | None = None
    shuffle: Shuffle = "hash"
    name: str = "%05d"
    first: int = 0


@dataclass(frozen=True)
class Choice:
    """Which records are planned, and under which key.

    Attributes:
        where: where given, records that do not meet it are left out.
        keys: where given, records whose `key_of` is not among them are left out; the second of
            each pair, where it is not empty, becomes the record's key.
        key_of: see `keys`.
    """

    where: Condition | None = None
    keys: Iterable[tuple[str, str]] | None = None
    key_of: Callable[[Record], str] = lambda record: record.key


@dataclass(frozen=True)
class PlannedShard:
    """Records and known bytes of one shard."""

    records: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What a finished plan says.

    Attributes:
        shards: shard name → what is in it.
        columns: metadata column → kind, see `mmfeat.metadata`.
        lacks: slots that records lack, as `image, text` → how many; empty = they lack none.
        problems: what is known to be wrong before anything is read → how many records.
        unsized: records of which some bytes are not known.
        read: records of the input, wanted or not.
    """

    shards: dict[str, PlannedShard]
    columns: dict[str, str]
    lacks: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    unsized: int = 0
    read: int = 0

    @property
    def records(self) -> int:
        """Records in all shards."""
        return sum(shard.records for shard in self.shards.values())

    @property
    def bytes(self) -> int:
        """Known bytes in all shards."""
        return sum(shard.bytes for shard in self.shards.values())


_ALL = Choice()


def make_plan(
    records: Iterable[Record],
    folder: str,
    *,
    config_hash: str,
    layout: Layout,
    slots: Iterable[str] = (),
    choice: Choice = _ALL,
    same_key: Callable[[Record, Record], None] | None = None,
    amend: Callable[[str], None] | None = None,
    run_bytes: int = RUN_BYTES,
) -> Plan:
    """Plan the shards of a store, or read the plan that an earlier run finished.

    Args:
        records: all input records, streamed.
        folder: the store; the plan goes into its `_plan`.
        config_hash: the plan is good for this configuration only.
        layout: how records become shards.
        slots: what every record is expected to have, for the census.
        choice: which records are planned; all when not given.
        same_key: called with two records that share a key, to refuse; else both are told apart
            by a `~` and their row numbers.
        amend: called with the folder of the store once all shards are planned.
        run_bytes: bytes of lines sorted in memory at a time.

    Raises:
        MmfeatError: there are no records, or `same_key` refuses.
    """
    place = storage.join(folder, PLAN)
    found = storage.read_json(storage.join(place, "plan.json"))
    if found and found["config_hash"] == config_hash:
        return Plan(
            {name: PlannedShard(**facts) for name, facts in found["shards"].items()},
            **{name: found[name] for name in ("columns", "lacks", "problems", "unsized", "read")},
        )
    storage.remove(place)
    counts: Counter[str] = Counter()
    kinds: dict[str, str | None] = {}
    wanted = _wanted(records, choice.where, counts)
    lines: Iterator[_Line]
    if choice.keys is None:
        lines = (_line(record, tuple(slots), kinds) for record in wanted)
    else:
        lines = _joined(
            external_sort(
                (_prefix(choice.key_of(r)) + b"\t" + _line(r, tuple(slots), kinds) for r in wanted),
                run_bytes,
            ),
            external_sort(
                (_prefix(key) + f"\t{_quoted(new)}\n".encode() for key, new in choice.keys),
                run_bytes,
            ),
        )
    lines = _with_unique_keys(external_sort(lines, run_bytes), same_key, counts)
    if layout.shuffle == "none":
        lines = external_sort((_by_row(line) for line in lines), run_bytes)
    census = _Census()
    shards: dict[str, PlannedShard] = {}
    for index, block in enumerate(_blocks(lines, layout), layout.first):
        name = shard_name(index, layout.name)
        shards[name] = _write_shard(storage.join(place, f"{name}.jsonl"), block, census)
    if choice.where:
        choice.where.check()
    if not shards:
        raise MmfeatError(
            "the input holds no records" if not counts["read"] else
            f"none of the {counts['read']} records of the input is selected",
            cure="Check the path and the flags that select records",
        )  # fmt: skip
    if amend:
        amend(folder)
    plan = Plan(
        shards,
        {name: kind or "string" for name, kind in kinds.items()},
        {json.loads(slots): number for slots, number in sorted(census.lacks.items())},
        dict(sorted(census.problems.items())),
        census.unsized,
        counts["read"],
    )
    storage.write_json(
        storage.join(place, "plan.json"), {"config_hash": config_hash, **asdict(plan)}
    )
    return plan


def read_plan(folder: str, shard: str) -> list[Record]:
    """The records of one shard, in their order."""
    with storage.open_input(storage.join(folder, PLAN, f"{shard}.jsonl")) as file:
        return [_load(line) for line in file.read().splitlines()]


def planned_shards(folder: str) -> list[str]:
    """Names of the shards that are planned."""
    names = storage.names_in(storage.join(folder, PLAN))
    return [name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl")]


def amend_plan(
    folder: str, shard: str, marks: Mapping[str, Iterable[tuple[str, str]]], reason: str
) -> None:
    """Add problems to records of a planned shard.

    Args:
        folder: the store.
        shard: name of the shard.
        marks: key → slots and details.
        reason: the word for all of them.
    """
    records = read_plan(folder, shard)
    with storage.create(storage.join(folder, PLAN, f"{shard}.jsonl")) as output:
        for record in records:
            problems = {slot: (reason, detail) for slot, detail in marks.get(record.key, ())}
            record = replace(record, problems={**record.problems, **problems})
            line = f"[{record.row},{_quoted(record.key)},{_payload(record)}]\n"
            output.write(line.encode())


def remove_plan(folder: str) -> None:
    """Remove the plan once all shards are made; comes before the manifest, the last act of a run.

    Its commit mark goes first, so that a kill in between leaves no plan that looks whole.
    """
    storage.remove(storage.join(folder, PLAN, "plan.json"))
    storage.remove(storage.join(folder, PLAN))


def _wanted(
    records: Iterable[Record], where: Condition | None, counts: Counter[str]
) -> Iterator[Record]:
    for record in records:
        counts["read"] += 1
        if "~" in record.key:
            counts["tildes"] = max(counts["tildes"], tildes_of(record.key))
        if where is None or where(record):
            yield record


def _prefix(key: str) -> bytes:
    """What a line begins with: equal for equal keys and for no others."""
    return f"{order_of(key)} {_quoted(key)}".encode()


def _line(record: Record, slots: tuple[str, ...], kinds: dict[str, str | None]) -> _Line:
    for name, value in record.metadata.items():
        kind = kind_of(value)
        if name not in kinds or kinds[name] != kind:
            kinds[name] = common_kind(kinds.get(name), kind)
    total, known = 0, True
    for part in record.parts.values():
        size = size_of(part)
        total += _OF_A_MEMBER + (size or 0)
        known = known and size is not None
    lacks = ", ".join([slot for slot in slots if slot not in record.parts])
    return (
        f"{order_of(record.key)} {_quoted(record.key)}\t{record.row:012d}\t"
        f"{total}{'' if known else '?'}\t{_quoted(lacks)}\t{_payload(record)}\n"
    ).encode()


def _payload(record: Record) -> str:
    """Parts, metadata and problems as ASCII JSON; a name that is not UTF-8 survives as it is."""
    parts = {slot: dump_part(part) for slot, part in record.parts.items()}
    return _json((parts, record.metadata, record.problems))[1:-1]


def _by_row(line: _Line) -> _Line:
    """The same line, to be sorted by its row."""
    key, row, rest = line.split(b"\t", 2)
    return b"%s %s\t%s\t%s" % (row, key.split(b" ", 1)[1], row, rest)


def _joined(lines: Iterator[_Line], wanted: Iterator[_Line]) -> Iterator[_Line]:
    """The lines behind whose prefix a wanted one stands; both sides are sorted alike."""
    key, new = _key_and_name(next(wanted, b""))
    for line in lines:
        own, rest = line.split(b"\t", 1)
        while key and key < own:
            key, new = _key_and_name(next(wanted, b""))
        if not key:
            return
        if key == own:
            yield _prefix(new) + rest[rest.index(b"\t") :] if new else rest


def _key_and_name(line: _Line) -> tuple[bytes, str]:
    key, _, new = line.partition(b"\t")
    return key, json.loads(new) if new else ""


def _with_unique_keys(
    lines: Iterable[_Line],
    same_key: Callable[[Record, Record], None] | None,
    counts: Mapping[str, int],
) -> Iterator[_Line]:
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
            yield _renamed(line, counts["tildes"])


def _renamed(line: _Line, tildes: int) -> _Line:
    """The line under a key that no other record has; its place in the order stays."""
    prefix, row, rest = line.split(b"\t", 2)
    order, key = prefix.split(b" ", 1)
    unique = _quoted(unique_key(json.loads(key), int(row), tildes)).encode()
    return b"%s %s\t%s\t%s" % (order, unique, row, rest)


def _blocks(lines: Iterable[_Line], layout: Layout) -> Iterator[Iterator[_Line]]:
    """Lines, one block a shard; each must be used up before the next."""
    lines = iter(lines)
    ahead = next(lines, None)

    def block() -> Iterator[_Line]:
        nonlocal ahead
        count, total = 0, 0
        while ahead is not None:
            size = _size(ahead)
            full = layout.bytes is not None and total + size > layout.bytes
            if count == layout.samples or (count and full):
                return
            line, ahead = ahead, next(lines, None)
            count, total = count + 1, total + size
            yield line

    while ahead is not None:
        yield block()


def _size(line: _Line) -> int:
    return int(line.split(b"\t", 3)[2].rstrip(b"?"))


class _Census:
    """What is known of the planned records before any of them is read."""

    def __init__(self) -> None:
        self.lacks: Counter[bytes] = Counter()
        self.problems: Counter[str] = Counter()
        self.unsized = 0


def _write_shard(path: str, block: Iterator[_Line], census: _Census) -> PlannedShard:
    count, total = 0, 0
    with storage.create(path) as output:
        while lines := list(islice(block, _WRITTEN)):
            written = []
            for line in lines:
                prefix, row, size, lack, payload = line.split(b"\t", 4)
                key = prefix.split(b" ", 1)[1]
                written.append(b"[%d,%s,%s]\n" % (int(row), key, payload[:-1]))
                total += int(size.rstrip(b"?"))
                census.lacks[lack] += 1
                census.unsized += size.endswith(b"?")
                if not payload.endswith(b",{}\n"):
                    census.problems[_reason(payload)] += 1
            output.write(b"".join(written))
            count += len(lines)
    return PlannedShard(count, total)


def _reason(payload: bytes) -> str:
    record = _load(b'[0,"",%s]' % payload)
    return Sample(record, problems=dict(record.problems)).reason or ""


def _record_of(line: _Line) -> Record:
    prefix, row, _, _, payload = line.split(b"\t", 4)
    return _load(b"[%d,%s,%s]" % (int(row), prefix.split(b" ", 1)[1], payload))


def _load(line: bytes) -> Record:
    row, key, parts, metadata, problems = json.loads(line)
    return Record(
        row,
        key,
        {slot: load_part(fields) for slot, fields in parts.items()},
        metadata,
        {slot: (reason, detail) for slot, (reason, detail) in problems.items()},
    )
