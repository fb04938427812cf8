"""WebDataset tars as input: from mmfeat, img2dataset or anyone. Only headers are read here."""

import hashlib
import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.records import (
    MODALITIES,
    MediaRef,
    Record,
    TarMemberRef,
    clean_metadata,
    escapes_folder,
    modality_of_slot,
    passthrough_slot,
    safe_key,
    safe_tar_key,
    slot_of_extension,
)
from mmfeat.shards import IndexedSample, index_tar, join_parts
from mmfeat.sources.base import Source
from mmfeat.sources.digests import file_ends_sha256
from mmfeat.sources.tars.no_media import SNIFFED_SAMPLES, no_media_error
from mmfeat.sources.tars.tar_sidecar import (
    Row,
    TarStore,
    check_own_files,
    is_own_row,
    read_sidecar,
    sidecar_path,
)
from mmfeat.storage import did_you_mean_path, files
from mmfeat.store import CONFIG_FILE, MANIFEST_FILE

_SNIFFED_TARS = 100
"""Tars that are read to find the slots."""

_MANY_SLOTS = 12
"""More slots than the records of a real dataset have."""

_NAME_PART = re.compile(r"\d|.*\s", re.DOTALL)
"""A part that is hardly named on purpose: it looks like the rest of a file name with dots."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


class TarSource(Source):
    """Records from the samples of WebDataset tars and from the tables next to them.

    A table `00000.parquet` next to `00000.tar` also lists records that are not in the tar. They
    become records with their reason. Members without a modality pass through unchanged; labels
    such as `.cls` are also metadata.

    Args:
        paths: the tars, in order.
    """

    other_files = "that are no tars"

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        if missing := [path for path in paths if not files.is_file(path)]:
            raise MmfeatError(
                f"no such file: {missing[0]}",
                cure=did_you_mean_path(missing[0]) or "Name tars, a folder or a table",
            )
        slots: dict[str, tuple[str, str]] = {}
        for sample in _sniff_samples(paths):
            for extension, (name, _, _) in sample.members.items():
                slots.setdefault(slot_of_extension(extension), (name, sample.key))
        self.slots = tuple(
            slot
            for modality in MODALITIES
            for slot in sorted(slots)
            if modality_of_slot(slot) == modality
        )
        if not self.slots:
            raise no_media_error(paths[0])
        self._first_names = {slot: slots[slot] for slot in self.slots}

    def input_files(self) -> Iterator[str]:
        """Yield the tars, and the files that mmfeat or img2dataset write next to them."""
        for path in self._paths:
            stem = posixpath.splitext(path)[0]
            yield from (path, sidecar_path(path), f"{stem}_stats.json")
            yield files.join(posixpath.dirname(path), CONFIG_FILE)
            yield files.join(posixpath.dirname(path), MANIFEST_FILE)

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
        """Return the number of tars, the slots of their samples, and dots that may mislead."""
        shown = ", ".join(self.slots[:_MANY_SLOTS])
        more = len(self.slots) - _MANY_SLOTS
        shown += f" and {more} more" if more > 0 else ""
        return [f"{len(self._paths)} tars, their samples have: {shown}", *self._dot_notes()]

    def _dot_notes(self) -> list[str]:
        """Return how a name with several dots is read, if its key may be meant to be longer."""
        parts = {slot: slot.partition(".")[2] for slot in self.slots}
        for slot, part in parts.items():
            if part and (len(self.slots) > _MANY_SLOTS or _NAME_PART.match(part)):
                name, key = self._first_names[slot]
                return [
                    f"keys end at the first dot of a member name: {name!r} is read as the part "
                    f"{slot!r} of the key {key!r}. Rename the members if their keys have dots"
                ]
        return []

    def records(self) -> Iterator[Record]:
        """Yield tar by tar: its samples, then the records of its table that the tar lacks.

        Tars of others may be damaged: their samples before the damage are read.

        Raises:
            DamagedFileError: a tar of a store of mmfeat has other bytes than its receipt records.
        """
        row = 0
        tars = {*self._paths}
        open_store = cache(lambda folder: TarStore(folder, tars))
        for path in self._paths:
            check_own_files(path)
            for record in _read_tar(path, open_store(posixpath.dirname(path)), row):
                yield record
                row += 1


def _sniff_samples(paths: Sequence[str]) -> Iterator[IndexedSample]:
    """Yield samples from tars spread over the input: merged stores have different slots."""
    for path in paths[:: -(-len(paths) // _SNIFFED_TARS)]:
        with suppress(RecordError):
            yield from _sniff_tar(path)


def _sniff_tar(path: str) -> Iterator[IndexedSample]:
    """Yield the first samples of a tar.

    If all have a single member, the tar may hold first all images, then all texts: it is read to
    the end.
    """
    any_pair = False
    for number, sample in enumerate(index_tar(path, Counter()), 1):
        yield sample
        any_pair = any_pair or len(sample.members) + (sample.metadata_json is not None) > 1
        if any_pair and number >= SNIFFED_SAMPLES:
            return


def _read_tar(path: str, store: TarStore, row: int) -> Iterator[Record]:
    name = posixpath.basename(path)
    table = read_sidecar(sidecar_path(path))
    ignored: Counter[str] = Counter()
    damages: list[RecordError] = []
    for sample in join_parts(_until_damage(path, ignored, damages)):
        rows = table.get(sample.key)
        values = rows.pop(0) if rows else None
        if not store.is_replaced(sample.key, path):
            yield _sample_record(row, path, sample, values, store)
            row += 1
    damage = damages[0] if damages else None
    absent = [(key, values) for key, rows in table.items() for values in rows]
    for key, values in absent:
        if not store.is_replaced(key, path):
            yield _absent_record(row, key, values, damage, store)
            row += 1
    if damage and not absent:
        key = safe_key(f"damaged {name}")
        detail = f"{name}: {damage.detail}; the samples after it are not counted"
        yield Record(row, key, problems={"": (damage.reason, detail)})
        row += 1
    for member_type, number in ignored.items():
        key = safe_key(f"no sample in {name} {member_type}")
        yield Record(row, key, problems={"": ("unnamed", f"{name}: {number} x {member_type}")})
        row += 1


def _until_damage(
    path: str, ignored: Counter[str], damages: list[RecordError]
) -> Iterator[IndexedSample]:
    """Yield the samples of a tar; append the error that ends it early."""
    try:
        yield from index_tar(path, ignored)
    except RecordError as error:
        damages.append(error)


def _sample_record(
    row: int, path: str, sample: IndexedSample, values: Row | None, store: TarStore
) -> Record:
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
    document: dict[str, Any] | None = None
    if sample.metadata_json is not None:
        try:
            document, json_problems = _parse_json(sample.metadata_json)
            problems |= json_problems
        except RecordError as error:
            problems["json"] = (error.reason, error.detail)
    metadata = {extension: _parse_label(label) for extension, label in sample.labels.items()}
    if values is not None:
        row_metadata, row_problems = store.parse_row(values)
        # A table of mmfeat repeats the .json, with prefixes where names are reserved.
        if document is None or not is_own_row(values):
            metadata |= row_metadata
        problems = {slot: problem for slot, problem in row_problems.items() if slot} | problems
    metadata |= document or {}
    if escapes_folder(sample.key):
        problems[""] = ("outside", f"{sample.key!r} is no name inside a tar")
    return Record(row, safe_tar_key(sample.key), media, metadata, problems)


def _parse_label(content: bytes) -> int | str | None:
    """Return a label as webdataset does, as an integer, or as text if it is none."""
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    return text or None


def _absent_record(
    row: int, key: str, values: Row, damage: RecordError | None, store: TarStore
) -> Record:
    """Return a record that the table lists and the tar lacks."""
    metadata, problems = store.parse_row(values)
    if not problems:
        error = damage or RecordError("missing", "the table lists it, the tar does not have it")
        problems = {"": (error.reason, error.detail)}
    return Record(row, safe_tar_key(key), {}, metadata, problems)


def _parse_json(document: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    try:
        value = json.loads(document)
        if not isinstance(value, dict):
            raise RecordError("undecodable", ".json: not a JSON object")
        return clean_metadata(value)
    except (ValueError, RecursionError) as error:
        raise RecordError("undecodable", f".json: {error}") from error
