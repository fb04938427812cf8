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
    with tarfile.open(fileobj=file, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
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
