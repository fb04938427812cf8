"""A folder as input: images and audio files, each with a `.txt` and a `.json` of the same stem."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mmfeat.errors import RecordError
from mmfeat.records import (
    MODALITIES,
    FileRef,
    MediaRef,
    Record,
    clean_metadata,
    safe_key,
    split_of_folder,
)
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.folders.folder_walk import DEAD_LINK, FolderFile, FolderWalk, format_types
from mmfeat.sources.tables import TABLE_READERS
from mmfeat.storage import files

_MAX_JSON_BYTES = 16 << 20


@dataclass
class FolderSource(Source):
    """Records from the files of a folder and its subfolders.

    All files of one stem are one record: image, audio, `.txt`, and `.json` of metadata. Two images
    of one stem are two records that share the other files. Links are followed. Hidden files and
    files of other types are ignored and counted. The folder of a file is its label, and a folder
    above it called train, test, … is its split (as in Hugging Face's imagefolder), unless its
    `.json` sets them.

    Args:
        root: the folder.
        options: only `folder_labels` is used.
    """

    root: str
    options: InputOptions = field(default_factory=InputOptions)

    def __post_init__(self) -> None:
        self._fs, self._root_name = files.filesystem(self.root)
        digest, modalities, ignored = hashlib.sha256(), set(), Counter[str]()
        walk = FolderWalk(self.root)
        for file in walk:
            if file.modality is None and file.extension != "json":
                ignored[file.type] += 1
                continue
            digest.update(f"{file.path}\0{file.bytes}\0".encode(errors="surrogateescape"))
            if file.modality:
                modalities.add(file.modality)
            else:
                digest.update(hashlib.sha256(self._read_json_file(file)).digest())
        self.ignored = ignored + walk.left_out
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
        if not self.ignored:
            return []
        types = format_types(self.ignored)
        note = f"ignored files of {self.root} that are no images, audio or texts: {types}"
        has_tables = not self.ignored.keys().isdisjoint([*TABLE_READERS, ".tar"])
        return [note + ("; to use tables or tars, name them as INPUT" if has_tables else "")]

    def records(self) -> Iterator[Record]:
        """Yield one record per image, or per stem without one, in the order of names."""
        row = 0
        for _, group in groupby(FolderWalk(self.root), key=lambda file: file.stem):
            same_stem = [f for f in group if f.modality or f.extension == "json"]
            for record in self._records_of_stem(same_stem, row):
                yield record
                row += 1

    def _records_of_stem(self, stem_files: list[FolderFile], row: int) -> Iterator[Record]:
        shared: dict[str, MediaRef] = {}
        images: list[MediaRef] = []
        metadata: dict[str, Any] | None = None
        problems: dict[str, tuple[str, str]] = {}
        for file in stem_files:
            if file.modality == "image":
                images.append(self._file_ref(file))
            elif file.modality in shared or (file.modality is None and metadata is not None):
                detail = f"{file.path}: a second {file.modality or 'json'} file of this name"
                problems[file.extension] = ("duplicate", detail)
            elif file.modality:
                shared[file.modality] = self._file_ref(file)
            else:
                try:
                    metadata, json_problems = self._read_metadata(file)
                    problems |= json_problems
                except RecordError as error:
                    problems["json"] = (error.reason, error.detail)
        if stem_files:
            key = "/".join(safe_key(name) or "_" for name in stem_files[0].stem.split("/"))
            folder_metadata, name_problems = clean_metadata(self._folder_metadata(stem_files[0]))
            metadata = folder_metadata | (metadata or {})
            if metadata.get("label") is None:
                problems = name_problems | problems
            for offset, image in enumerate(images or [None]):
                media = {"image": image, **shared} if image else shared
                yield Record(row + offset, key, media, metadata, problems)

    def _file_ref(self, file: FolderFile) -> FileRef:
        return FileRef(files.join(self.root, file.path), file.bytes)

    def _folder_metadata(self, file: FolderFile) -> dict[str, Any]:
        """Return label and split of a file, given by the folders below the root."""
        if not self.options.folder_labels:
            return {}
        folders = file.path.split("/")[:-1]
        metadata: dict[str, Any] = {}
        if folders and (split := split_of_folder(folders[0])):
            metadata["split"] = split
            del folders[0]
        if folders:
            metadata["label"] = folders[-1]
        return metadata

    def _read_metadata(self, file: FolderFile) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
        if file.bytes is None:
            reason = "not_found" if file.oddity == DEAD_LINK else "unreadable"
            raise RecordError(reason, f"{file.path}: a {file.oddity}")
        if file.bytes > _MAX_JSON_BYTES:
            raise RecordError("too_large", f"{file.path}: {file.bytes} bytes")
        try:
            value = json.loads(self._read_json_file(file))
            if not isinstance(value, dict):
                raise RecordError("undecodable", f"{file.path}: not a JSON object")
            return clean_metadata(value)
        except (ValueError, RecursionError) as error:
            raise RecordError("undecodable", f"{file.path}: {error}") from error

    def _read_json_file(self, file: FolderFile) -> bytes:
        if file.bytes is None:
            return b""
        with self._fs.open(files.join(self._root_name, file.path), "rb") as opened:
            content: bytes = opened.read(_MAX_JSON_BYTES)
        return content
