"""What an input may make this machine read: the one place that decides.

The input that a user names is trusted. What its rows name is not: a table may come from a stranger.
Its rows may name files in the folder of the table, files by their absolute paths if the table is on
the disk, too, and URLs on public web servers. Everything else needs a flag.
"""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote

import fsspec

from mmfeat.errors import MmfeatError, RecordError, did_you_mean
from mmfeat.storage import files
from mmfeat.system import canonical_protocol, is_http, is_url, protocols

_WEB = ("http", "https")
_FILE = "file"
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK, opening a pipe would wait for a writer."""

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class ReadPolicy:
    """What the rows of an input may make this machine read.

    Attributes:
        allow_protocols: protocols whose files may be read anywhere, such as s3 or file. http and
            https are always allowed.
        allow_outside: whether files outside the folder of the table may be read, on the disk or
            in the storage of the table.
        allow_private: whether web servers may have private addresses.
        ignore_robots_tag: whether files may be used that their servers exclude from training.
        folders: folders of the tables. Files in them must not be links that leave them; empty =
            the user named the files.
    """

    allow_protocols: tuple[str, ...] = ()
    allow_outside: bool = False
    allow_private: bool = False
    ignore_robots_tag: bool = False
    folders: tuple[str, ...] = ()

    def describe_paths(self) -> dict[str, Any]:
        """Return the settings that decide which paths are allowed, JSON-ready.

        Protocols are left out if there are none, so that the stores of earlier versions stay valid.
        """
        protocols = (
            {"allow_protocols": sorted(self.allow_protocols)} if self.allow_protocols else {}
        )
        return {"allow_outside": self.allow_outside, **protocols}

    def describe_web(self) -> dict[str, bool]:
        """Return the settings that decide which downloads are allowed, as far as they are set."""
        settings = {
            "allow_private": self.allow_private,
            "ignore_robots_tag": self.ignore_robots_tag,
        }
        return {name: True for name, value in settings.items() if value}

    def complete_path(self, folder: str, path: str) -> str:
        """Return the complete path or URL of a file that a row names.

        Links are not resolved here but when the file is opened, by `open_local`.

        Args:
            folder: folder of the table, where relative paths start.
            path: a URL, or an absolute or relative path.

        Raises:
            RecordError: `outside`, if the policy does not allow to read it.
        """
        if path.startswith("/") and not is_url(folder):
            return path
        if is_url(path) or path.startswith("/"):
            complete = strip_file_protocol(path)
        else:
            relative = posixpath.normpath(path) if ".." in path else path
            complete = files.join(folder, relative)
            if not relative.startswith("..") and not is_url(folder):
                return complete
        if is_http(complete):
            return complete
        used = protocols(complete)
        chained_web = len(used) > 1 and any(name in _WEB for name in used)
        if not chained_web and all(name in self.allow_protocols for name in used):
            return complete
        shown = _shorten(path)
        if used == protocols(folder):
            if self.allow_outside or _is_inside(folder, complete):
                return complete
            detail = f"{shown} leaves {folder or '.'}; --allow-outside permits it"
        elif chained_web:
            detail = f"{shown} is a chain of protocols that ends in a web server"
        else:
            missing = [name for name in used if name not in self.allow_protocols]
            flags = " ".join(f"--allow-protocol {name}" for name in dict.fromkeys(missing))
            detail = f"{shown} leaves {folder or '.'}; {flags} permits it"
        raise RecordError("outside", detail)

    def check_url(self, url: str) -> None:
        """Check a complete URL again when it is read: a plan on disk may have been changed.

        Raises:
            RecordError: `outside`, if no row of a table in the folders may name it.
        """
        problem: RecordError | None = None
        for folder in self.folders:
            try:
                self.complete_path(folder, url)
            except RecordError as error:
                problem = error
            else:
                return
        if problem:
            raise problem

    def open_local(self, path: str) -> int:
        """Open a local file for reading and return its file descriptor.

        Raises:
            RecordError: `outside`, if a link in one of the folders leads out of them.
        """
        absolute = os.path.abspath(path)
        is_in_folder = any(_is_below(absolute, os.path.abspath(name)) for name in self.folders)
        if not self._real_folders or not is_in_folder:
            return os.open(path, _OPEN_FLAGS)
        if not _HAS_OPEN_FILES_IN_PROC:
            real_path = os.path.realpath(path)
            self._check_real_path(path, real_path)
            return os.open(real_path, _OPEN_FLAGS | os.O_NOFOLLOW)
        # What is checked is what is read, even if somebody swaps a link: the descriptor stays.
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            name = f"/proc/self/fd/{handle}"
            self._check_real_path(path, os.readlink(name))
            return os.open(name, _OPEN_FLAGS)
        finally:
            os.close(handle)

    @cached_property
    def _real_folders(self) -> Sequence[str]:
        if self.allow_outside or _FILE in self.allow_protocols:
            return ()
        return [os.path.realpath(folder) for folder in self.folders]

    def _check_real_path(self, path: str, real_path: str) -> None:
        if not any(_is_below(real_path, folder) for folder in self._real_folders):
            detail = f"{_shorten(path)} is a link that leaves the folder of the table"
            raise RecordError("outside", f"{detail}; --allow-outside permits it")


def check_protocols(names: Sequence[str]) -> tuple[str, ...]:
    """Return the protocols of --allow-protocol, each under its one name.

    Raises:
        MmfeatError: fsspec does not know a protocol.
    """
    known = fsspec.available_protocols()
    for name in names:
        if name.lower() not in known:
            raise MmfeatError(
                "--allow-protocol must name a protocol of fsspec, such as s3, gs or file",
                got=name,
                cure=did_you_mean(name, known),
            )
    return tuple(map(canonical_protocol, names))


_HAS_OPEN_FILES_IN_PROC = hasattr(os, "O_PATH") and os.path.isdir("/proc/self/fd")


def strip_file_protocol(path: str) -> str:
    """Return the local path of a `file://` or `local://` URL; other paths as they are."""
    if is_url(path) and protocols(path) == (_FILE,):
        return posixpath.join(os.getcwd(), path.partition("://")[2])
    return path


def _is_inside(folder: str, path: str) -> bool:
    """Return whether a path with the protocol of a folder lies in it. Links may lead elsewhere."""
    if not is_url(path):
        return _is_inside_local(folder, path)
    root = _path_in_storage(folder)
    # Some storages decode `%2e%2e`, others do not.
    return all(_is_below(_path_in_storage(text), root) for text in (path, unquote(path)))


def _path_in_storage(url: str) -> str:
    return posixpath.normpath("/" + url.partition("://")[2].lstrip("/"))


def _is_inside_local(folder: str, path: str) -> bool:
    absolute = os.path.abspath(path)
    root = os.path.abspath(folder)
    if _is_below(absolute, root):
        return True
    # The same folder may have another name, through a link.
    real_path = posixpath.join(_real_path(posixpath.dirname(absolute)), posixpath.basename(path))
    return _is_below(real_path, _real_path(root))


@lru_cache(maxsize=4096)
def _real_path(path: str) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # no name of a file system
        return path


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
