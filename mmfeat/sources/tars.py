"""WebDataset tars: made by us, by img2dataset or by anyone; the headers are read, not the bytes."""

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.records.keys import escapes_folder, safe_key, safe_tar_key
from mmfeat.records.media_ref import MediaRef, TarMemberRef
from mmfeat.records.metadata import to_json_value
from mmfeat.records.modalities import (
    MODALITIES,
    modality_of_slot,
    passthrough_slot,
    slot_of_extension,
)
from mmfeat.records.record import OWN_COLUMNS, REASONS, Record
from mmfeat.store.retried_rows import retry_shards
from mmfeat.shards.tar_index import IndexedSample, index_tar
from mmfeat.sources.base import Source
from mmfeat.sources.digests import digest_of_ends
from mmfeat.store import files

_SNIFFED, _SNIFFED_TARS = 100, 100
"""Samples of a tar, and tars, looked at to learn which slots a record has."""

_Rows = dict[str, dict[str, Any]]

_Columns = dict[str, tuple[str, str]]
"""Column of a table of ours → name and kind of the metadata it holds."""


class TarSource(Source):
    """Records from the samples of WebDataset tars, with the tables that lie beside them.

    A table `00000.parquet` beside `00000.tar` (ours, with `__key__`, or img2dataset's, with `key`)
    tells of records that are not in the tar: they stay in the account with their reason. Members
    that hold no modality are carried as they are.

    Args:
        paths: the tars, in their order.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._columns_of: dict[str, _Columns | None] = {}
        if gone := [path for path in paths if not files.exists(path)]:
            raise MmfeatError(f"no such file: {gone[0]}", cure="Name tars, a folder or a table")
        seen: dict[str, None] = {}
        count = 0
        for sample in _some_samples(paths):
            seen |= dict.fromkeys(map(slot_of_extension, sample.members))
            count += 1
        self.slots = tuple(
            slot
            for modality in MODALITIES
            for slot in sorted(seen)
            if modality_of_slot(slot) == modality
        )
        if not self.slots:
            raise MmfeatError(
                f"no pictures, sounds or texts found in the first {count} samples of {paths[0]}",
                cure="Name WebDataset tars: members KEY.jpg, KEY.txt, … stand together",
            )

    def describe(self) -> dict[str, Any]:
        """A digest of names, sizes and both ends of all tars, and of the tables beside them."""
        total = hashlib.sha256()
        for path in self._paths:
            for file in (path, _sidecar(path)):
                if files.exists(file):
                    total.update(f"{posixpath.basename(file)}\0{digest_of_ends(file)}\0".encode())
        return {
            "form": "tars",
            "slots": list(self.slots),
            "files": len(self._paths),
            "sha256": total.hexdigest(),
        }

    def notes(self) -> list[str]:
        """How many tars there are and what their samples have."""
        return [f"{len(self._paths)} tars, their samples have: {', '.join(self.slots)}"]

    def records(self) -> Iterator[Record]:
        """The samples tar by tar, then the records its table knows and the tar lacks."""
        row = 0
        for path in self._paths:
            table = _read_sidecar(_sidecar(path))
            ignored: Counter[str] = Counter()
            damage: RecordError | None = None
            samples = index_tar(path, ignored)
            while True:
                try:
                    sample = next(samples, None)
                except RecordError as error:
                    damage = error
                    break
                if sample is None:
                    break
                yield _record(row, path, sample, table.pop(sample.key, None))
                row += 1
            worked_later = _worked_later(posixpath.dirname(path), posixpath.basename(path))
            for key, values in table.items():
                if key not in worked_later:
                    yield _lost(row, key, values, damage, self._columns(posixpath.dirname(path)))
                    row += 1
            if damage and not table:
                name = posixpath.basename(path)
                key = safe_key(f"damaged {name}")
                detail = f"{name}: {damage.detail}; what stands behind it is not counted"
                yield Record(row, key, problems={"": (damage.reason, detail)})
                row += 1
            for name, number in ignored.items():
                yield Record(
                    row,
                    safe_key(f"no sample in {posixpath.basename(path)} {name}"),
                    problems={"": ("unsafe", f"{posixpath.basename(path)}: {number} x {name}")},
                )
                row += 1

    def _columns(self, folder: str) -> "_Columns | None":
        """The metadata columns of a store of ours; None where its manifest is not at hand."""
        if folder not in self._columns_of:
            found = files.read_json(files.join(folder, "manifest.json"))
            ours = isinstance(found, dict) and found.get("kind") == "shards" and "kinds" in found
            self._columns_of[folder] = (
                dict(zip(found["columns"], found["kinds"].items(), strict=True)) if ours else None
            )
        return self._columns_of[folder]


def _worked_later(folder: str, tar: str) -> frozenset[str]:
    """Keys of a store of ours that failed in this shard and worked when they were tried again."""
    manifest = files.read_json(files.join(folder, "manifest.json"))
    if not isinstance(manifest, dict) or manifest.get("kind") != "shards":
        return frozenset()
    further = retry_shards(manifest)
    if posixpath.splitext(tar)[0] in further:
        return frozenset()
    tables = (files.join(folder, f"{shard}.parquet") for shard in further)
    return frozenset(key for table in tables for key in _read_sidecar(table))


def _some_samples(paths: Sequence[str]) -> Iterator[IndexedSample]:
    """The first samples of tars from all over the input: merged stores differ in what they have."""
    for path in paths[:: -(-len(paths) // _SNIFFED_TARS)]:
        with suppress(RecordError):
            yield from islice(index_tar(path, Counter()), _SNIFFED)


def _record(row: int, path: str, sample: IndexedSample, values: dict[str, Any] | None) -> Record:
    parts: dict[str, MediaRef] = {}
    for extension, (name, offset, size) in sample.members.items():
        slot = slot_of_extension(extension)
        # A second member of a modality, say .jpg beside .png, keeps its own name.
        parts[passthrough_slot(extension) if slot in parts else slot] = TarMemberRef(
            path, name, offset, size
        )
    problems: dict[str, tuple[str, str]] = {}
    for extension, problem in sample.problems.items():
        # A second member of one name is no reason to leave the first.
        slot = slot_of_extension(extension)
        problems[extension if slot in parts else slot] = problem
    metadata: dict[str, Any] = {}
    if values is not None:
        metadata, told = _from_table(values)
        problems = {slot: problem for slot, problem in told.items() if slot} | problems
    if sample.document is not None:
        try:
            told_here = _metadata(sample.document)
            # A table of ours repeats what the .json says, under other names where ours are taken.
            metadata = told_here if _is_ours(values) else metadata | told_here
        except RecordError as error:
            problems["json"] = (error.reason, error.detail)
    if escapes_folder(sample.key):
        problems[""] = ("outside", f"{sample.key!r} is no name inside a tar")
    return Record(row, safe_tar_key(sample.key), parts, metadata, problems)


def _lost(
    row: int,
    key: str,
    values: dict[str, Any],
    damage: RecordError | None,
    columns: _Columns | None,
) -> Record:
    """A record that the table knows and the tar does not have."""
    metadata, problems = _from_table(values)
    if columns is not None:
        metadata = {
            name: to_json_value(_as_before(values.get(column), kind))
            for column, (name, kind) in columns.items()
        }
    if not problems:
        why = damage or RecordError("missing", "the table names it, the tar does not have it")
        problems = {"": (why.reason, why.detail)}
    return Record(row, safe_tar_key(key), {}, metadata, problems)


def _from_table(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """Metadata and problems of a row of a table beside a tar."""
    problems: dict[str, tuple[str, str]] = {}
    if _is_ours(values):
        error = str(values.get("error") or "")
        for label in str(values.get("reason") or "").split(", "):
            slot, _, reason = label.rpartition(":")
            if reason in REASONS:
                problems[slot] = (reason, _detail(error, label))
        if values.get("status") == "failed" and not problems:
            problems[""] = ("missing", error)
        ours = {*OWN_COLUMNS, *(n for n in values if n.endswith(("_status", "_sha256")))}
        metadata = {name: value for name, value in values.items() if name not in ours}
        return to_json_value(metadata), problems
    status = values.get("status")
    if status not in (None, "success"):
        reason = "not_found" if status == "failed_to_download" else "undecodable"
        problems["image"] = (reason, f"img2dataset: {values.get('error_message') or status}")
    return to_json_value(values), problems


def _is_ours(values: Mapping[str, Any] | None) -> bool:
    return values is not None and "__key__" in values


def _detail(error: str, label: str) -> str:
    """What a column of errors says of one problem, as `image:not_found: …; text:empty: …`."""
    parts = (part for part in error.split("; ") if part.startswith(f"{label}: "))
    return next(parts, "").removeprefix(f"{label}: ")


def _metadata(document: bytes) -> dict[str, Any]:
    try:
        value = to_json_value(json.loads(document))
    except (ValueError, RecursionError) as error:
        raise RecordError("undecodable", f".json: {error}") from error
    if not isinstance(value, dict):
        raise RecordError("undecodable", ".json: not a JSON object")
    return value


def _sidecar(tar: str) -> str:
    return posixpath.splitext(tar)[0] + ".parquet"


def _as_before(value: Any, kind: str) -> Any:
    """A metadata value as it was before it became a cell: some are their JSON text there."""
    if kind == "json" and isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _read_sidecar(path: str) -> _Rows:
    """Key → row of the table beside a tar; empty where there is none. It is as long as the tar."""
    if not files.exists(path):
        return {}
    try:
        with files.open_input(path) as file, pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            key = next((name for name in ("__key__", "key") if name in names), None)
            if key is None:
                return {}
            rows = table.read().to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise MmfeatError(f"the table beside a tar cannot be read: {path}: {error}") from error
    return {str(row[key]): row for row in rows}
