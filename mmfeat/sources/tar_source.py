"""WebDataset tars as input: from mmfeat, img2dataset or anyone. Only headers are read here."""

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.records import (
    MODALITIES,
    MediaRef,
    Record,
    TarMemberRef,
    escapes_folder,
    modality_of_slot,
    passthrough_slot,
    safe_key,
    safe_tar_key,
    slot_of_extension,
    to_json_value,
)
from mmfeat.shards import IndexedSample, index_tar
from mmfeat.sources.base import Source
from mmfeat.sources.digests import file_ends_sha256
from mmfeat.sources.tar_sidecar import (
    Row,
    TarStore,
    is_own_row,
    parse_row,
    read_sidecar,
    sidecar_path,
)
from mmfeat.store import files

_SNIFFED_TARS = 100
_SNIFFED_SAMPLES = 100
"""Tars, and samples of each, that are read to find the slots."""


class TarSource(Source):
    """Records from the samples of WebDataset tars and from the tables next to them.

    A table `00000.parquet` next to `00000.tar` also lists records that are not in the tar. They
    become records with their reason. Members without a modality pass through unchanged.

    Args:
        paths: the tars, in order.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        if missing := [path for path in paths if not files.exists(path)]:
            raise MmfeatError(f"no such file: {missing[0]}", cure="Name tars, a folder or a table")
        slots: set[str] = set()
        count = 0
        for sample in _sniff_samples(paths):
            slots |= {*map(slot_of_extension, sample.members)}
            count += 1
        self.slots = tuple(
            slot
            for modality in MODALITIES
            for slot in sorted(slots)
            if modality_of_slot(slot) == modality
        )
        if not self.slots:
            raise MmfeatError(
                f"no images, audio or texts found in the first {count} samples of {paths[0]}",
                cure="Name WebDataset tars, in which members KEY.jpg, KEY.txt, … are adjacent",
            )

    def describe(self) -> dict[str, Any]:
        """Return a digest of names, sizes and ends of all tars and of the tables next to them."""
        digest = hashlib.sha256()
        for tar in self._paths:
            for path in (tar, sidecar_path(tar)):
                if files.exists(path):
                    name = posixpath.basename(path)
                    digest.update(f"{name}\0{file_ends_sha256(path)}\0".encode())
        return {
            "form": "tars",
            "slots": list(self.slots),
            "files": len(self._paths),
            "sha256": digest.hexdigest(),
        }

    def notes(self) -> list[str]:
        """Return the number of tars and the slots of their samples."""
        return [f"{len(self._paths)} tars, their samples have: {', '.join(self.slots)}"]

    def records(self) -> Iterator[Record]:
        """Yield tar by tar: its samples, then the records of its table that the tar lacks."""
        row = 0
        open_store = cache(TarStore)
        for path in self._paths:
            for record in _read_tar(path, open_store(posixpath.dirname(path)), row):
                yield record
                row += 1


def _sniff_samples(paths: Sequence[str]) -> Iterator[IndexedSample]:
    """Yield samples from tars spread over the input: merged stores have different slots."""
    for path in paths[:: -(-len(paths) // _SNIFFED_TARS)]:
        with suppress(RecordError):
            yield from islice(index_tar(path, Counter()), _SNIFFED_SAMPLES)


def _read_tar(path: str, store: TarStore, row: int) -> Iterator[Record]:
    name = posixpath.basename(path)
    table = read_sidecar(sidecar_path(path))
    ignored: Counter[str] = Counter()
    damage: RecordError | None = None
    try:
        for sample in index_tar(path, ignored):
            yield _sample_record(row, path, sample, table.pop(sample.key, None))
            row += 1
    except RecordError as error:
        damage = error
    is_retry_shard = posixpath.splitext(name)[0] in store.retry_shards
    for key, values in table.items():
        if is_retry_shard or key not in store.retried_keys:
            yield _absent_record(row, key, values, damage, store)
            row += 1
    if damage and not table:
        key = safe_key(f"damaged {name}")
        detail = f"{name}: {damage.detail}; the samples after it are not counted"
        yield Record(row, key, problems={"": (damage.reason, detail)})
        row += 1
    for member_type, number in ignored.items():
        key = safe_key(f"no sample in {name} {member_type}")
        yield Record(row, key, problems={"": ("unsafe", f"{name}: {number} x {member_type}")})
        row += 1


def _sample_record(row: int, path: str, sample: IndexedSample, values: Row | None) -> Record:
    media: dict[str, MediaRef] = {}
    for extension, (name, offset, size) in sample.members.items():
        slot = slot_of_extension(extension)
        # A second member of a modality, say .jpg next to .png, keeps its extension as its slot.
        if slot in media:
            slot = passthrough_slot(extension)
        media[slot] = TarMemberRef(path, name, offset, size)
    problems: dict[str, tuple[str, str]] = {}
    for extension, problem in sample.problems.items():
        # A repeated member name is no problem of the first member.
        slot = slot_of_extension(extension)
        problems[extension if slot in media else slot] = problem
    metadata: dict[str, Any] = {}
    if values is not None:
        metadata, row_problems = parse_row(values)
        problems = {slot: problem for slot, problem in row_problems.items() if slot} | problems
    if sample.metadata_json is not None:
        try:
            document = _parse_json(sample.metadata_json)
            # A table of mmfeat repeats the .json, with prefixes where names are reserved.
            metadata = document if is_own_row(values) else metadata | document
        except RecordError as error:
            problems["json"] = (error.reason, error.detail)
    if escapes_folder(sample.key):
        problems[""] = ("outside", f"{sample.key!r} is no name inside a tar")
    return Record(row, safe_tar_key(sample.key), media, metadata, problems)


def _absent_record(
    row: int, key: str, values: Row, damage: RecordError | None, store: TarStore
) -> Record:
    """Return a record that the table lists and the tar lacks."""
    metadata, problems = parse_row(values)
    original = store.metadata(values)
    if not problems:
        error = damage or RecordError("missing", "the table lists it, the tar does not have it")
        problems = {"": (error.reason, error.detail)}
    return Record(row, safe_tar_key(key), {}, metadata if original is None else original, problems)


def _parse_json(document: bytes) -> dict[str, Any]:
    try:
        value = to_json_value(json.loads(document))
    except (ValueError, RecursionError) as error:
        raise RecordError("undecodable", f".json: {error}") from error
    if not isinstance(value, dict):
        raise RecordError("undecodable", ".json: not a JSON object")
    return value
