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
    stream = cast(IO[bytes], _EndingFile(file))
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            if not member.isreg():
                continue
            key, extension = split_member_name(member.name)
            if sample is None or key != sample.key:
                if sample is not None:
                    yield sample
                sample = TarSample(key)
            if member.issparse() or member.size > MAX_MEMBER_BYTES:
                detail = f"{member.name}: {member.size} bytes"
                sample.problems[extension] = RecordError("too_large", detail)
                continue
            sample.members[extension] = _read_member(tar, member)
    if sample is not None:
        yield sample


class _EndingFile:
    """A file that tarfile may read to its end, but not on and on to skip a member of any size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._empty_reads = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
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
    folder, base = posixpath.split(name.removeprefix("./"))
    stem, _, extension = base.partition(".")
    return posixpath.join(folder, stem), extension.lower()
