"""Join the parts of samples whose members are not adjacent in a tar.

A tar may hold all images first, then all texts. The parts are sorted by key, and whole samples back
into the order of the tar, so memory does not grow with the tar.

    KEY⇥NUMBER⇥CONTENT    a part: key and content are ASCII JSON, NUMBER is its place in the tar
    NUMBER⇥KEY⇥CONTENT    a whole sample
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, groupby

from mmfeat.shards.tar_index import IndexedSample
from mmfeat.system import RUN_BYTES, external_sort

_MAX_OPEN = 8
"""Samples of one key that may still get members: a tar may hold a key several times."""


def join_parts(
    parts: Iterable[IndexedSample], run_bytes: int = RUN_BYTES
) -> Iterator[IndexedSample]:
    """Yield whole samples in the order of their first members.

    Parts of one key are one sample unless they share a member name. Of the members of one name,
    the first belongs to the first sample of the key, the second to the second.

    Args:
        parts: samples of a tar; the members of each are adjacent.
        run_bytes: bytes sorted in memory at a time.
    """
    lines = (
        b"%s\t%012d\t%s\n" % (json.dumps(part.key).encode(), number, _dump(part))
        for number, part in enumerate(parts)
    )
    by_key = groupby(external_sort(lines, run_bytes), key=lambda line: line[: line.index(b"\t")])
    whole = (line for _, group in by_key for line in _join_lines(group))
    for line in external_sort(whole, run_bytes):
        _, key, content = line.split(b"\t", 2)
        yield _load(key, content)


def _join_lines(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the whole samples of one key, given its parts in the order of the tar."""
    first, second = next(lines), next(lines, None)
    if second is None:
        key, number, content = first.split(b"\t", 2)
        yield b"%s\t%s\t%s" % (number, key, content)
        return
    samples: list[tuple[bytes, IndexedSample]] = []
    for line in chain([first, second], lines):
        key, number, content = line.split(b"\t", 2)
        part = _load(key, content)
        names = _member_names(part)
        sample = next((s for _, s in samples if names.isdisjoint(_member_names(s))), None)
        if sample is not None:
            _add_part(sample, part)
            continue
        if len(samples) == _MAX_OPEN:
            yield _whole_line(key, *samples.pop(0))
        samples.append((number, part))
    for number, sample in samples:
        yield _whole_line(key, number, sample)


def _whole_line(key: bytes, number: bytes, sample: IndexedSample) -> bytes:
    return b"%s\t%s\t%s\n" % (number, key, _dump(sample))


def _member_names(sample: IndexedSample) -> set[str]:
    json_name = {"json"} if sample.metadata_json is not None else set()
    return sample.members.keys() | sample.problems.keys() | json_name


def _add_part(sample: IndexedSample, part: IndexedSample) -> None:
    sample.members |= part.members
    sample.labels |= part.labels
    sample.problems |= part.problems
    if part.metadata_json is not None:
        sample.metadata_json = part.metadata_json


def _dump(sample: IndexedSample) -> bytes:
    document = sample.metadata_json
    labels = {name: content.decode("latin-1") for name, content in sample.labels.items()}
    content = (
        sample.members,
        None if document is None else document.decode("latin-1"),
        labels,
        sample.problems,
    )
    return json.dumps(content).encode()


def _load(key: bytes, content: bytes) -> IndexedSample:
    members, document, labels, problems = json.loads(content)
    return IndexedSample(
        json.loads(key),
        {extension: tuple(place) for extension, place in members.items()},
        None if document is None else document.encode("latin-1"),
        {name: label.encode("latin-1") for name, label in labels.items()},
        {extension: tuple(problem) for extension, problem in problems.items()},
    )
