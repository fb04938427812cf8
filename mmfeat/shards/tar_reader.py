"""Read WebDataset tars as a stream of samples."""

import json
import posixpath
import struct
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

import numpy as np

from mmfeat.errors import RecordError

MAX_MEMBER_BYTES = 1 << 30
"""Larger members are not read."""

_HEADER_BYTES = 512

_READ_BYTES = 4 << 20
"""Bytes per read. Members are views of them: a call per member would cost threads that read side by
side more time than the work itself, and a copy would block the others."""

_HEADER = struct.Struct("100s 24x 12s 20x c 100x 5s 83x c 166x")
"""Of a header: name, size, type, magic, first letter of the folder."""

_MAX_PLAIN_BYTES = 64 << 20
"""Larger members are left to tarfile, which reads a part at a time."""

_MAX_EMPTY_READS = 100
"""Reads at the end of a tar. tarfile needs a few to see the end."""


Content = bytes | memoryview
"""Bytes of a member."""


@dataclass(slots=True)
class TarSample:
    """A sample of a tar.

    Attributes:
        members: extension → content. Most contents are views of the blocks that were read; a block
            stays in memory as long as one of its views.
        problems: extension → why the member cannot be used.
    """

    key: str
    members: dict[str, Content] = field(default_factory=dict)
    problems: dict[str, RecordError] = field(default_factory=dict)

    def metadata(self) -> Mapping[str, Any]:
        """Parse the sample's `.json`."""
        return cast(Mapping[str, Any], json.loads(bytes(self.members["json"])))


def read_tar(file: IO[bytes]) -> Iterator[TarSample]:
    """Stream the samples of a tar. Nothing is extracted; links and devices are skipped.

    Raises:
        tarfile.TarError: the tar is damaged or ends early. Earlier samples were yielded.
    """
    sample: TarSample | None = None
    for name, content in _read_members(file):
        key, extension = split_member_name(name)
        if sample is None or key != sample.key:
            if sample is not None:
                yield sample
            sample = TarSample(key)
        if isinstance(content, RecordError):
            sample.problems[extension] = content
        else:
            sample.members[extension] = content
    if sample is not None:
        yield sample


def _read_members(file: IO[bytes]) -> Iterator[tuple[str, Content | RecordError]]:
    """Yield the name and the content of each file.

    tarfile takes longer for a member than reading it does. So members with plain headers are read
    here, up to the first other one.
    """
    blocks = _Blocks(file)
    header = blocks.take(_HEADER_BYTES)
    while plain := _parse_plain_header(header):
        name, size = plain
        content = blocks.take(size)
        if len(content) != size:
            raise tarfile.ReadError(f"{name}: {len(content)} of {size} bytes are there")
        yield name, content
        padding = -size % _HEADER_BYTES
        header = blocks.take(padding + _HEADER_BYTES)[padding:]
    yield from _read_any_members(cast(IO[bytes], _RestOfFile(bytes(header) + blocks.rest(), file)))


class _Blocks:
    """The bytes of a file, read in large blocks."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._block = memoryview(b"")

    def take(self, size: int) -> memoryview:
        """Return the next bytes; fewer at the end of the file."""
        if size > len(self._block):
            self._read(size)
        data, self._block = self._block[:size], self._block[size:]
        return data

    def rest(self) -> bytes:
        """Return what is left of the block."""
        data, self._block = bytes(self._block), memoryview(b"")
        return data

    def _read(self, size: int) -> None:
        """Read a block that begins with what is left of the last one."""
        left = len(self._block)
        block = np.empty(max(size, _READ_BYTES), np.uint8).data
        block[:left] = self._block
        while left < size and (count := self._file.readinto(block[left:])):  # type: ignore[attr-defined]
            left += count
        self._block = block[:left]


def _parse_plain_header(header: memoryview) -> tuple[str, int] | None:
    """Return name and size of a file whose header needs no other header, or None.

    Its checksum is not compared: the digest of the tar covers it.
    """
    if len(header) != _HEADER_BYTES:
        return None
    name, digits, kind, magic, folder = _HEADER.unpack(header)
    digits = digits.rstrip(b"\0 ")
    if kind != b"0" or magic != b"ustar" or folder != b"\0" or not digits.isdigit():
        return None
    try:
        size = int(digits, 8)
    except ValueError:
        return None
    if size > _MAX_PLAIN_BYTES:
        return None
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape"), size


def _read_any_members(file: IO[bytes]) -> Iterator[tuple[str, Content | RecordError]]:
    with tarfile.open(fileobj=file, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            if not member.isreg():
                continue
            if member.issparse() or member.size > MAX_MEMBER_BYTES:
                detail = f"{member.name}: {member.size} bytes"
                yield member.name, RecordError("too_large", detail)
            else:
                yield member.name, _read_member(tar, member)


class _RestOfFile:
    """A file from bytes on that were read too early.

    tarfile may read it to its end, but not on and on to skip a member of any size.
    """

    def __init__(self, block: bytes, file: IO[bytes]) -> None:
        self._block, self._file = block, file
        self._empty_reads = 0

    def read(self, size: int) -> bytes:
        block, self._block = self._block[:size], self._block[size:]
        data = block + self._file.read(size - len(block))
        self._empty_reads += not data
        if self._empty_reads > _MAX_EMPTY_READS:
            raise tarfile.ReadError("it ends within a member")
        return data


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = cast(IO[bytes], tar.extractfile(member)).read()
    if len(content) != member.size:
        raise tarfile.ReadError(f"{member.name}: {len(content)} of {member.size} bytes are there")
    return content


def split_member_name(name: str) -> tuple[str, str]:
    """Split a member name at its first dot into key and extension, as WebDataset does."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    if not slash:
        return stem, extension.lower()
    return posixpath.join(folder.rstrip("/") or slash, stem), extension.lower()
