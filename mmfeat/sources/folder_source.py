"""A folder as input: images and audio files, each with a `.txt` and a `.json` of the same stem."""

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mmfeat.records import (
    MODALITIES,
    FileRef,
    MediaRef,
    Record,
    modality_of_extension,
    safe_key,
    split_of_folder,
    to_json_value,
)
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.table_formats import TABLE_READERS
from mmfeat.store import files

_MAX_JSON_BYTES = 16 << 20


@dataclass(frozen=True)
class _FolderFile:
    path: str
    """Relative to the root."""
    bytes: int

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.path)[0]

    @property
    def extension(self) -> str:
        return posixpath.splitext(self.path)[1].removeprefix(".").lower()

    @property
    def modality(self) -> str | None:
        return modality_of_extension(self.extension)


@dataclass
class FolderSource(Source):
    """Records from the files of a folder and its subfolders.

    All files of one stem are one record: image, audio, `.txt`, and `.json` of metadata. Two images
    of one stem are two records that share the other files. Hidden files and files of other types
    are ignored. The folder of a file is its label, and a folder above it called train, test, … is
    its split (as in Hugging Face's imagefolder), unless its `.json` sets them.

    Args:
        root: the folder.
        options: only `folder_labels` is used.
    """

    root: str
    options: InputOptions = field(default_factory=InputOptions)

    def __post_init__(self) -> None:
        self._fs, self._root_name = files.filesystem(self.root)
        digest, modalities, ignored = hashlib.sha256(), set(), Counter[str]()
        for file in self._walk(self._root_name):
            if file.modality is None and file.extension != "json":
                ignored[f".{file.extension}" if file.extension else "without an extension"] += 1
                continue
            digest.update(f"{file.path}\0{file.bytes}\0".encode(errors="surrogateescape"))
            if file.modality:
                modalities.add(file.modality)
            else:
                digest.update(hashlib.sha256(self._read_json_file(file)).digest())
        self._ignored = ignored
        self.slots = tuple(name for name in MODALITIES if name in modalities)
        self._sha256 = digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return a digest of the names and sizes of all files and of the `.json` contents."""
        return {
            "form": "folder",
            "slots": list(self.slots),
            "folder_labels": self.options.folder_labels,
            "sha256": self._sha256,
        }

    def notes(self) -> list[str]:
        """Return how many files are ignored, by type."""
        if not self._ignored:
            return []
        counts = sorted((str(to_json_value(t)), number) for t, number in self._ignored.items())
        types = ", ".join(f"{number} {type_}" for type_, number in counts)
        note = f"ignored files of {self.root} that are no images, audio or texts: {types}"
        has_tables = any(type_ in TABLE_READERS for type_ in self._ignored)
        return [note + ("; to use a table, name it as INPUT" if has_tables else "")]

    def records(self) -> Iterator[Record]:
        """Yield one record per image, or per stem without one, in the order of names."""
        row = 0
        for _, group in groupby(self._walk(self._root_name), key=lambda file: file.stem):
            same_stem = [f for f in group if f.modality or f.extension == "json"]
            for record in self._records_of_stem(same_stem, row):
                yield record
                row += 1

    def _records_of_stem(self, stem_files: list[_FolderFile], row: int) -> Iterator[Record]:
        shared: dict[str, MediaRef] = {}
        images: list[MediaRef] = []
        metadata: dict[str, Any] = {}
        problems: dict[str, tuple[str, str]] = {}
        for file in stem_files:
            if file.modality == "image":
                images.append(self._file_ref(file))
            elif file.modality in shared:
                detail = f"{file.path}: a second {file.modality} file of this name"
                problems[file.extension] = ("duplicate", detail)
            elif file.modality:
                shared[file.modality] = self._file_ref(file)
            else:
                metadata, problem = self._read_metadata(file)
                if problem:
                    problems["json"] = problem
        if stem_files:
            key = "/".join(safe_key(name) or "_" for name in stem_files[0].stem.split("/"))
            metadata = self._folder_metadata(stem_files[0]) | metadata
            for offset, image in enumerate(images or [None]):
                media = {"image": image, **shared} if image else shared
                yield Record(row + offset, key, media, metadata, problems)

    def _file_ref(self, file: _FolderFile) -> FileRef:
        return FileRef(files.join(self.root, file.path), file.bytes)

    def _folder_metadata(self, file: _FolderFile) -> dict[str, Any]:
        """Return label and split of a file, given by the folders below the root."""
        if not self.options.folder_labels:
            return {}
        folders = file.path.split("/")[:-1]
        metadata: dict[str, Any] = {}
        if folders and (split := split_of_folder(folders[0])):
            metadata["split"] = split
            del folders[0]
        if folders:
            metadata["label"] = to_json_value(folders[-1])
        return metadata

    def _read_metadata(self, file: _FolderFile) -> tuple[dict[str, Any], tuple[str, str] | None]:
        if file.bytes > _MAX_JSON_BYTES:
            return {}, ("too_large", f"{file.path}: {file.bytes} bytes")
        try:
            value = to_json_value(json.loads(self._read_json_file(file)))
        except (ValueError, RecursionError) as error:
            return {}, ("undecodable", f"{file.path}: {error}")
        if not isinstance(value, dict):
            return {}, ("undecodable", f"{file.path}: not a JSON object")
        return value, None

    def _read_json_file(self, file: _FolderFile) -> bytes:
        with self._fs.open(posixpath.join(self._root_name, file.path), "rb") as opened:
            content: bytes = opened.read(_MAX_JSON_BYTES)
        return content

    def _walk(self, folder: str) -> Iterator[_FolderFile]:
        for entry in sorted(self._fs.ls(folder, detail=True), key=_by_stem):
            name = posixpath.basename(entry["name"].rstrip("/"))
            if name.startswith("."):
                continue
            if entry.get("islink"):
                entry = self._follow_link(entry)
            if entry["type"] == "directory" and not entry.get("islink"):
                yield from self._walk(entry["name"])
            elif entry["type"] == "file":
                relative = posixpath.relpath(entry["name"], self._root_name)
                yield _FolderFile(relative, entry["size"])

    def _follow_link(self, link: dict[str, Any]) -> dict[str, Any]:
        """Return the entry a link points to. A linked folder keeps `islink`: it may be a loop."""
        try:
            target: dict[str, Any] = self._fs.info(link["name"])
        except OSError:
            return link
        return target


def _by_stem(entry: dict[str, Any]) -> tuple[bool, str, str]:
    """Sort files before folders, and files of one stem next to each other."""
    name = posixpath.basename(entry["name"].rstrip("/"))
    return entry["type"] == "directory", posixpath.splitext(name)[0], name
