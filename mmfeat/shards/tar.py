"""Shards: WebDataset tars, written the same byte for byte each time, read with every size bound.

The members of a sample stand together under its key: `key.jpg`, `key.txt`, `key.json`.
"""

import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

from mmfeat.errors import RecordError
from mmfeat.records.record import Sample
from mmfeat.store.files import Output

MAX_MEMBER_BYTES = 1 << 30
"""A larger member of a tar is not read."""


class TarWriter:
    """Writes samples into a tar whose bytes depend on the samples alone.

    The bytes are those that Python's tarfile writes in the PAX format; building the header of a
    plain name here takes a twentieth of its time, which would else be most of writing a sample.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._total = 0

    def write(self, sample: Sample) -> None:
        """Append a sample: its members, then its metadata as `.json`."""
        document = json.dumps(sample.record.metadata, ensure_ascii=False, sort_keys=True)
        for extension, content in sample.members.items():
            self._add(f"{sample.key}.{extension}", content)
        self._add(f"{sample.key}.json", document.encode())

    def close(self) -> None:
        """Write the end of the tar."""
        end = 2 * tarfile.BLOCKSIZE
        self._append(b"\0" * (end + -(self._total + end) % tarfile.RECORDSIZE))
        self._flush()

    def _add(self, name: str, content: bytes) -> None:
        self._append(_header(name, len(content)))
        self._append(content)
        self._append(_PADDING[: -len(content) % tarfile.BLOCKSIZE])

    def _append(self, data: bytes) -> None:
        self._total += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._output.write(b"".join(self._pending))
        self._pending.clear()
        self._pending_bytes = 0


_WRITE_BYTES = 1 << 20
"""Bytes written at a time."""

_PADDING = b"\0" * tarfile.BLOCKSIZE
_PLAIN_BYTES = 8 * 1024**3
"""Sizes below it fit the eleven octal digits of a plain header."""

_AFTER_SIZE = b"0" * 11 + b"\0"
_AFTER_SUM = b"0" + b"\0" * 100 + b"ustar\x0000" + b"\0" * 247
_BEFORE_SIZE = b"0000644\0" + b"0000000\0" * 2
_SUM = sum(_BEFORE_SIZE + _AFTER_SIZE + _AFTER_SUM) + 8 * ord(" ")


def _header(name: str, size: int) -> bytes:
    """The header of a regular file, mode 644, no owner, no time."""
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) > tarfile.LENGTH_NAME or size >= _PLAIN_BYTES or not name.isascii():
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    octal = b"%011o\0" % size
    total = _SUM + sum(encoded) + sum(octal)
    return b"".join(
        (
            encoded.ljust(tarfile.LENGTH_NAME, b"\0"),
            _BEFORE_SIZE, octal, _AFTER_SIZE, b"%06o\0 " % total, _AFTER_SUM,
        )
    )  # fmt: skip


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
