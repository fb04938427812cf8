"""Shards: WebDataset tars, written the same byte for byte each time, read with every size bound.

The members of a sample stand together under its key: `key.jpg`, `key.txt`, `key.json`.
"""

import io
import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

from mmfeat.errors import RecordError
from mmfeat.sample import Sample
from mmfeat.storage import Output

MAX_MEMBER_BYTES = 1 << 30
"""A larger member of a tar is not read."""


class TarWriter:
    """Writes samples into a tar whose bytes depend on the samples alone."""

    def __init__(self, output: Output) -> None:
        self._tar = tarfile.open(  # noqa: SIM115 - open as long as the writer
            fileobj=cast(IO[bytes], output), mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8"
        )

    def write(self, sample: Sample) -> None:
        """Append a sample: its members, then its metadata as `.json`."""
        document = json.dumps(sample.record.metadata, ensure_ascii=False, sort_keys=True)
        for extension, content in {**sample.members, "json": document.encode()}.items():
            info = tarfile.TarInfo(f"{sample.key}.{extension}")
            info.size = len(content)
            info.mode = 0o644
            self._tar.addfile(info, io.BytesIO(content))

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()


@dataclass(slots=True)
class TarSample:
    """A sample as it stands in a tar.

    Attributes:
        members: extension → content.
        problems: extension → why that member is not there.
    """

    key: str
    members: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, RecordError] = field(default_factory=dict)

    def metadata(self) -> Mapping[str, Any]:
        """What the sample's `.json` says."""
        return cast(Mapping[str, Any], json.loads(self.members["json"]))


def read_tar(file: IO[bytes]) -> Iterator[TarSample]:
    """The samples of a tar, streamed; nothing is extracted, links and devices are passed over.

    Raises:
        tarfile.TarError: the tar is damaged or ends early; the samples before that were yielded.
    """
    sample: TarSample | None = None
    with tarfile.open(fileobj=file, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            if not member.isreg():
                continue
            key, extension = split_name(member.name)
            if sample is None or key != sample.key:
                if sample is not None:
                    yield sample
                sample = TarSample(key)
            if member.issparse() or member.size > MAX_MEMBER_BYTES:
                detail = f"{member.name}: {member.size} bytes"
                sample.problems[extension] = RecordError("too_large", detail)
                continue
            sample.members[extension] = _content(tar, member)
    if sample is not None:
        yield sample


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = cast(IO[bytes], tar.extractfile(member)).read()
    if len(content) != member.size:
        raise tarfile.ReadError(f"{member.name}: {len(content)} of {member.size} bytes are there")
    return content


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member's name, as WebDataset splits them: at the first dot."""
    folder, base = posixpath.split(name.removeprefix("./"))
    stem, _, extension = base.partition(".")
    return posixpath.join(folder, stem), extension.lower()
