"""Folders: pictures and sounds, with a `.txt` and a `.json` of the same stem beside them."""

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mmfeat.records.keys import safe_key
from mmfeat.records.media_ref import FileRef, MediaRef
from mmfeat.records.metadata import to_json_value
from mmfeat.records.modalities import MODALITIES, modality_of_extension
from mmfeat.records.record import Record
from mmfeat.records.split_names import split_of_folder
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.rows import TABLE_FORMATS
from mmfeat.store import files

_MAX_SIDECAR_BYTES = 16 << 20


@dataclass(frozen=True)
class _File:
    path: str
    """Relative to the root."""
    bytes: int

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.path)[0]

    @property
    def extension(self) -> str:
        return posixpath.splitext(self.path)[1].removeprefix(".").lower()


@dataclass
class FolderSource(Source):
    """Records from the files of a folder and the folders below it.

    A record is a stem: its picture, its sound, its `.txt`, its `.json` of metadata. Two pictures
    of one stem are two records that share the rest. Hidden files and files of other kinds are
    left out. The folder a file lies in is its label, and one called train, test, … above it its
    split (Hugging Face's imagefolder), unless its `.json` says otherwise.

    Args:
        root: the folder.
        options: `folder_labels` is looked at.
    """

    root: str
    options: InputOptions = field(default_factory=InputOptions)

    def __post_init__(self) -> None:
        self._fs, self._name = files.filesystem(self.root)
        total, modalities, ignored = hashlib.sha256(), set(), Counter[str]()
        for file in self._walk(self._name):
            modality = modality_of_extension(file.extension)
            if modality is None and file.extension != "json":
                ignored[f".{file.extension}" if file.extension else "without an extension"] += 1
                continue
            total.update(f"{file.path}\0{file.bytes}\0".encode(errors="surrogateescape"))
            if modality:
                modalities.add(modality)
            else:
                total.update(hashlib.sha256(self._read_sidecar(file)).digest())
        self._ignored = ignored
        self.slots = tuple(name for name in MODALITIES if name in modalities)
        self._sha256 = total.hexdigest()

    def describe(self) -> dict[str, Any]:
        """A digest of the names and sizes of all files, and of what the `.json` files say."""
        return {
            "form": "folder",
            "slots": list(self.slots),
            "folder_labels": self.options.folder_labels,
            "sha256": self._sha256,
        }

    def notes(self) -> list[str]:
        """Which files are no records, so that nothing is left out unsaid."""
        if not self._ignored:
            return []
        counts = sorted(
            (str(to_json_value(kind)), number) for kind, number in self._ignored.items()
        )
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts)
        told = f"files of {self.root} that are no pictures, sounds or texts are left out: {kinds}"
        tables = [kind for kind in self._ignored if kind in TABLE_FORMATS]
        return [told + ("; to use a table, name it as INPUT" if tables else "")]

    def records(self) -> Iterator[Record]:
        """One record a picture, or a stem without one, folder by folder in the order of names."""
        row = 0
        for _, group in groupby(self._walk(self._name), key=lambda file: file.stem):
            files = [
                f for f in group if modality_of_extension(f.extension) or f.extension == "json"
            ]
            for record in self._records_of(files, row):
                yield record
                row += 1

    def _records_of(self, files: list[_File], row: int) -> Iterator[Record]:
        shared: dict[str, MediaRef] = {}
        pictures: list[MediaRef] = []
        metadata: dict[str, Any] = {}
        problems: dict[str, tuple[str, str]] = {}
        for file in files:
            modality = modality_of_extension(file.extension)
            if modality == "image":
                pictures.append(self._part(file))
            elif modality in shared:
                detail = f"{file.path}: a second file of {modality} of that name"
                problems[file.extension] = ("duplicate", detail)
            elif modality:
                shared[modality] = self._part(file)
            else:
                metadata, problem = self._metadata(file)
                if problem:
                    problems["json"] = problem
        if files:
            key = "/".join(safe_key(name) or "_" for name in files[0].stem.split("/"))
            metadata = self._told_by_folders(files[0]) | metadata
            for offset, picture in enumerate(pictures or [None]):
                parts = {"image": picture, **shared} if picture else shared
                yield Record(row + offset, key, parts, metadata, problems)

    def _part(self, file: _File) -> FileRef:
        return FileRef(files.join(self.root, file.path), file.bytes)

    def _told_by_folders(self, file: _File) -> dict[str, Any]:
        """Label and split of a file in folders below the root."""
        if not self.options.folder_labels:
            return {}
        folders = file.path.split("/")[:-1]
        told: dict[str, Any] = {}
        if folders and (split := split_of_folder(folders[0])):
            told["split"] = split
            del folders[0]
        if folders:
            told["label"] = to_json_value(folders[-1])
        return told

    def _metadata(self, file: _File) -> tuple[dict[str, Any], tuple[str, str] | None]:
        if file.bytes > _MAX_SIDECAR_BYTES:
            return {}, ("too_large", f"{file.path}: {file.bytes} bytes")
        try:
            value = to_json_value(json.loads(self._read_sidecar(file)))
        except (ValueError, RecursionError) as error:
            return {}, ("undecodable", f"{file.path}: {error}")
        if not isinstance(value, dict):
            return {}, ("undecodable", f"{file.path}: not a JSON object")
        return value, None

    def _read_sidecar(self, file: _File) -> bytes:
        with self._fs.open(posixpath.join(self._name, file.path), "rb") as opened:
            content: bytes = opened.read(_MAX_SIDECAR_BYTES)
        return content

    def _walk(self, folder: str) -> Iterator[_File]:
        entries = sorted(self._fs.ls(folder, detail=True), key=_by_stem)
        for entry in entries:
            name = posixpath.basename(entry["name"].rstrip("/"))
            if name.startswith("."):
                continue
            if entry.get("islink"):
                entry = self._followed(entry)
            if entry["type"] == "directory" and not entry.get("islink"):
                yield from self._walk(entry["name"])
            elif entry["type"] == "file":
                relative = posixpath.relpath(entry["name"], self._name)
                yield _File(relative, entry["size"])

    def _followed(self, link: dict[str, Any]) -> dict[str, Any]:
        """What a link leads to; a folder keeps its `islink`, for its links may lead in circles."""
        try:
            found: dict[str, Any] = self._fs.info(link["name"])
        except OSError:
            return link
        return found


def _by_stem(entry: dict[str, Any]) -> tuple[bool, str, str]:
    """Files before folders, and files of one stem side by side."""
    name = posixpath.basename(entry["name"].rstrip("/"))
    return entry["type"] == "directory", posixpath.splitext(name)[0], name
