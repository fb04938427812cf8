"""What a tar holds, by its headers alone: names and places, no byte of content is read.

The tar may be a stranger's: nothing is extracted, no link is followed, no header is believed that
would have more memory taken than a header needs.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, cast

from mmfeat.errors import RecordError
from mmfeat.shards.tar import split_name
from mmfeat.store import files

_END_BYTES = 1 << 20
"""Bytes behind the end of a tar that are looked at."""

_MAX_HEADER_BYTES = 1 << 20
"""Most bytes of the headers of one member (names, attributes) that are read."""

_MAX_ATTRIBUTES = 1000
"""Most attributes that hold for all members of a tar."""

MAX_JSON_BYTES = 16 << 20
"""Longest `.json` of a sample that is read."""

PICKLES = frozenset("pkl pickle pyd pt pth ckpt joblib dill".split())
"""Extensions of pickles: to read one is to run it, so that it is not passed on."""


@dataclass(slots=True)
class IndexedSample:
    """A sample of a tar before its bytes are read.

    Attributes:
        members: extension → member name, offset and size of its content.
        document: what its `.json` holds; the one content that is read.
        problems: extension → reason and detail, for members that must not be used.
    """

    key: str
    members: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    document: bytes | None = None
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)


def index_tar(path: str, ignored: Counter[str]) -> Iterator[IndexedSample]:
    """The samples of a tar, in their order.

    Args:
        path: the tar; local or a URL whose file can be sought in.
        ignored: counts members that belong to no sample, by their kind.

    Raises:
        RecordError: `damaged_shard` where the tar breaks; samples before that were yielded.
    """
    sample: IndexedSample | None = None
    try:
        with files.open_input(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            for member in _members(file):
                key, extension = split_name(member.name)
                extension = "".join(c if c.isprintable() and c != "\\" else "_" for c in extension)
                if member.isdir() or not extension or key.endswith("/") or not key:
                    if not member.isdir():
                        ignored["a member without a key or an extension"] += 1
                    continue
                if sample is None or key != sample.key:
                    if sample is not None:
                        yield sample
                    sample = IndexedSample(key)
                _add(sample, extension, member, size)
                if extension == "json" and "json" in sample.members:
                    sample.document = _document(sample, file)
        if sample is not None:
            yield sample
            sample = None
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        if sample is not None:
            yield sample
        raise RecordError("damaged_shard", str(error)) from error


def _members(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    headers = _Headers(file)
    with tarfile.open(
        fileobj=cast(IO[bytes], headers), mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as tar:
        end = 0
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it keeps every header it has seen
            if member.size < 0 or tar.offset <= end or len(tar.pax_headers) > _MAX_ATTRIBUTES:
                raise tarfile.ReadError(f"no valid header at byte {end}")
            end = tar.offset
            yield member
            headers.left = _MAX_HEADER_BYTES
        # tarfile takes a broken header in the middle for the end, and reads no tar behind the end
        # of a first one. Behind the true end there are but zeros.
        file.seek(tar.offset)
        rest = file.read(_END_BYTES)
        if not rest:
            raise tarfile.ReadError("it has no end mark: it was cut between two members")
        if rest.strip(b"\0"):
            raise tarfile.ReadError(f"no header at byte {tar.offset}, and the file goes on")


def _document(sample: IndexedSample, file: IO[bytes]) -> bytes | None:
    name, offset, size = sample.members.pop("json")
    if size > MAX_JSON_BYTES:
        sample.problems["json"] = ("too_large", f"{name}: {size} bytes")
        return None
    file.seek(offset)
    return file.read(size)


class _Headers:
    """A file that tarfile reads headers from: refuses to read more than a header has.

    Attributes:
        left: bytes that may be read before the next member.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.left = _MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError(f"extended headers of more than {_MAX_HEADER_BYTES} bytes")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        if position < 0:
            raise tarfile.ReadError(f"a header leads to byte {position}")
        return self._file.seek(position)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _add(sample: IndexedSample, extension: str, member: tarfile.TarInfo, tar_bytes: int) -> None:
    name, last = member.name, extension.rpartition(".")[2]
    if not member.isreg() or member.issparse():
        kind = "sparse" if member.issparse() else "link" if member.islnk() or member.issym() else (
            "device or pipe"
        )  # fmt: skip
        sample.problems[extension] = ("unsafe", f"{name}: a {kind} member")
    elif last in PICKLES:
        sample.problems[extension] = ("unsafe", f"{name}: a pickle")
    elif (
        extension in sample.members
        or extension in sample.problems
        or (extension == "json" and sample.document is not None)
    ):
        sample.problems[extension] = ("duplicate", f"{name}: a second member of that name")
    elif member.offset_data + member.size > tar_bytes:
        detail = f"{name}: the tar ends before its {member.size} bytes do"
        sample.problems[extension] = ("damaged_shard", detail)
    else:
        sample.members[extension] = (name, member.offset_data, member.size)
