"""Walk a folder: its files in a fixed order, linked folders included, and what is left out."""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.records import modality_of_extension
from mmfeat.storage import files

METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables that Hugging Face's imagefolder and audiofolder expect in a folder of media."""

DEAD_LINK = "dead link"
HIDDEN = "hidden"
LOOP = "linked to a folder above"

_TYPE = re.compile(r"(\.(tar|csv|tsv|json|jsonl|parquet))?\.(?=\w{0,7}[a-z])\w{1,8}$", re.ASCII)
"""An extension. Numbers and long ones are no types: there may be one per file."""

_COMPRESSED_TAR = re.compile(r"\.(tar\.(gz|zst|bz2|xz|lz4|lzma|lz|br|z)|tgz|tbz2?|txz|tzst)$")


@dataclass(frozen=True)
class FolderFile:
    """A file of a folder.

    Attributes:
        path: relative to the folder.
        bytes: its size; None if there is nothing to read.
        oddity: `dead link` or `pipe or device`; empty for a regular file.
    """

    path: str
    bytes: int | None
    oddity: str = ""

    @property
    def stem(self) -> str:
        """The path without the last extension."""
        return posixpath.splitext(self.path)[0]

    @property
    def extension(self) -> str:
        """The last extension in lower case, without the dot."""
        return posixpath.splitext(self.path)[1].removeprefix(".").lower()

    @property
    def modality(self) -> str | None:
        """The modality of the extension."""
        return modality_of_extension(self.extension)

    @property
    def type(self) -> str:
        """How a note names its type: `.csv`, `.tar.gz`, `metadata.csv`."""
        name = posixpath.basename(self.path).lower()
        if self.oddity or name in METADATA_FILES:
            return self.oddity or name
        if not self.extension:
            return "without an extension"
        match = _TYPE.search(name)
        return match[0] if match else "of other types"


@dataclass
class FolderWalk:
    """Walks a folder and its subfolders. Hidden files and folders are left out.

    Links are followed. A link to a folder above it would never end, so it is left out.

    Args:
        root: the folder.

    Attributes:
        left_out: kind → number of files and folders that the last walk left out.
    """

    root: str
    left_out: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[FolderFile]:
        """Yield the files. In each folder, files come first and are sorted by stem.

        Raises:
            MmfeatError: a folder cannot be listed.
        """
        self.left_out = Counter()
        fs, root = files.filesystem(self.root)
        for entry in self._walk(fs, root, (os.path.realpath(root),)):
            yield _folder_file(entry, root)

    def _walk(self, fs: Any, folder: str, parents: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        for entry in _list_entries(fs, folder):
            name = _base_name(entry)
            if name.startswith("."):
                self.left_out[HIDDEN] += 1
            elif entry["type"] != "directory":
                yield entry
            elif not entry.get("islink"):
                real_path = posixpath.join(parents[-1], name)
                yield from self._walk(fs, entry["name"], (*parents, real_path))
            else:
                target = os.path.realpath(entry["name"])
                if any(os.path.commonpath([target, parent]) == target for parent in parents):
                    self.left_out[LOOP] += 1
                else:
                    yield from self._walk(fs, entry["name"], (*parents, target))


@dataclass(frozen=True)
class Folder:
    """The content of a folder, without its subfolders' and without hidden files.

    Attributes:
        path: the folder.
        files: its files.
        folders: names of its subfolders.
    """

    path: str
    files: Sequence[FolderFile]
    folders: Sequence[str]

    def paths(self, suffix: str) -> list[str]:
        """Return the paths of its files that end in a suffix in lower or upper case."""
        names = (file.path for file in self.files if file.path.lower().endswith(suffix))
        return [files.join(self.path, name) for name in names]

    def count(self, *modalities: str) -> int:
        """Return the number of its files of some modalities."""
        return sum(file.modality in modalities for file in self.files)


def list_folder(path: str) -> Folder:
    """List a folder, sorted by name.

    Raises:
        MmfeatError: the folder cannot be listed.
    """
    fs, name = files.filesystem(path)
    entries = [entry for entry in _list_entries(fs, name) if not _base_name(entry).startswith(".")]
    entries.sort(key=_base_name)
    folders = [_base_name(entry) for entry in entries if entry["type"] == "directory"]
    found = [_folder_file(entry, name) for entry in entries if entry["type"] != "directory"]
    return Folder(path, found, folders)


def is_compressed_tar(path: str) -> bool:
    """Return whether the name of a file is that of a compressed tar."""
    return bool(_COMPRESSED_TAR.search(path.lower()))


def _folder_file(entry: dict[str, Any], root: str) -> FolderFile:
    path = posixpath.relpath(entry["name"], root)
    if entry["type"] == "file":
        return FolderFile(path, entry["size"])
    return FolderFile(path, None, entry["type"])


def _list_entries(fs: Any, folder: str) -> list[dict[str, Any]]:
    """Return the entries of a folder, with links resolved: files by stem, then folders.

    The type is `directory`, `file`, `dead link` or `pipe or device`.

    Raises:
        MmfeatError: the folder cannot be listed.
    """
    try:
        entries = fs.ls(folder, detail=True)
    except OSError as error:
        raise MmfeatError(
            f"a folder of the input cannot be listed: {error}",
            got=folder,
            cure="Make it readable, or name another folder",
        ) from error
    # Some object stores list the folder itself, as an empty file.
    inside = (entry for entry in entries if entry["name"].rstrip("/") != folder.rstrip("/"))
    return sorted((_resolve(fs, entry) for entry in inside), key=_by_stem)


def _resolve(fs: Any, entry: dict[str, Any]) -> dict[str, Any]:
    if entry.get("islink"):
        try:
            entry = fs.info(entry["name"])
        except OSError:
            return entry | {"type": DEAD_LINK}
    return entry if entry["type"] in ("directory", "file") else entry | {"type": "pipe or device"}


def _by_stem(entry: dict[str, Any]) -> tuple[bool, str, str]:
    """Sort files before folders, and files of one stem next to each other."""
    name = _base_name(entry)
    return entry["type"] == "directory", posixpath.splitext(name)[0], name


def _base_name(entry: dict[str, Any]) -> str:
    return posixpath.basename(entry["name"].rstrip("/"))


def format_types(types: Counter[str]) -> str:
    """Return the numbers of files by type: `2 .csv, 1 hidden`."""
    return ", ".join(f"{number} {type_}" for type_, number in sorted(types.items()))
