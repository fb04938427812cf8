"""Read WebDataset tars as a stream of samples."""

import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

from mmfeat.errors import RecordError

MAX_MEMBER_BYTES = 1 << 30
"""Larger members are not read."""

_BLOCK = 512

_MAX_PLAIN_BYTES = 64 << 20
"""Larger members are left to tarfile, which reads a part at a time."""

_MAX_EMPTY_READS = 100
"""Reads at the end of a tar. tarfile needs a few to see the end."""


@dataclass(slots=True)
class TarSample:
    """A sample of a tar.

    Attributes:
        members: extension → content.
        problems: extension → why the member cannot be used.
    """

    key: str
    members: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, RecordError] = field(default_factory=dict)

    def metadata(self) -> Mapping[str, Any]:
        """Parse the sample's `.json`."""
        return cast(Mapping[str, Any], json.loads(self.members["json"]))


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


def _read_members(file: IO[bytes]) -> Iterator[tuple[str, bytes | RecordError]]:
    """Yield the name and the content of each file.

    tarfile takes longer for a member than reading it does. So members with plain headers are read
    here, up to the first other one.
    """
    header = file.read(_BLOCK)
    while plain := _parse_plain_header(header):
        name, size = plain
        content = file.read(size)
        if len(content) != size:
            raise tarfile.ReadError(f"{name}: {len(content)} of {size} bytes are there")
        yield name, content
        padding = -size % _BLOCK
        header = file.read(padding + _BLOCK)[padding:]
    yield from _read_any_members(cast(IO[bytes], _RestOfFile(header, file)))


def _parse_plain_header(header: bytes) -> tuple[str, int] | None:
    """Return name and size of a file whose header needs no other header, or None.

    Its checksum is not compared: the digest of the tar covers it.
    """
    is_file = header[156:157] == b"0" and header[257:262] == b"ustar" and header[345:346] == b"\0"
    digits = header[124:136].rstrip(b"\0 ")
    if not is_file or len(header) != _BLOCK or not digits.isdigit():
        return None
    try:
        size = int(digits, 8)
    except ValueError:
        return None
    if size > _MAX_PLAIN_BYTES:
        return None
    return header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape"), size


def _read_any_members(file: IO[bytes]) -> Iterator[tuple[str, bytes | RecordError]]:
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
    """A file from a block on that was read too early.

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
