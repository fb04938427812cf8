"""Index a tar by its headers: names, offsets and sizes. The content of members is not read.

The tar may be hostile. Nothing is extracted, no link is followed, and no header can make the
reader allocate more memory than a header needs.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, cast

from mmfeat.errors import RecordError
from mmfeat.shards.tar_reader import split_member_name
from mmfeat.storage import files

_END_BYTES = 1 << 20
"""Bytes after the end of a tar that are checked."""

_MAX_HEADER_BYTES = 1 << 20
"""Limit for the headers of one member (names, attributes)."""

_MAX_ATTRIBUTES = 1000
"""Limit for the number of global attributes."""

MAX_JSON_BYTES = 16 << 20
"""Limit for the `.json` of a sample."""

LABELS = frozenset("cls cls2 class count index inx id".split())
"""Extensions of labels, as webdataset decodes them."""

_MAX_LABEL_BYTES = 4096

PICKLES = frozenset("pkl pickle pyd pt pth ckpt joblib dill".split())
"""Extensions of pickles. Reading a pickle runs its code, so pickles are rejected."""


_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "rar",
}
"""First bytes of compressed files → the program that reads them."""


@dataclass(slots=True)
class IndexedSample:
    """A sample of a tar before its bytes are read.

    Attributes:
        members: extension → member name, offset and size of the content.
        metadata_json: the content of its `.json`. Only this and labels are read.
        labels: extension → content of its labels, such as `.cls`; they are also members.
        problems: extension → reason and detail, for members that must not be used.
    """

    key: str
    members: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    metadata_json: bytes | None = None
    labels: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)


def index_tar(path: str, ignored: Counter[str]) -> Iterator[IndexedSample]:
    """Index the samples of a tar, in order.

    Args:
        path: the tar, a local file or a URL that supports seeking.
        ignored: counts the members that belong to no sample, by kind.

    Raises:
        RecordError: `damaged_shard` if the tar is damaged. Earlier samples were yielded.
    """
    sample: IndexedSample | None = None
    any_header = False
    try:
        with files.open_input(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            for member in _read_headers(file):
                any_header = True
                key, extension = split_member_name(member.name)
                extension = "".join(c if c.isprintable() and c != "\\" else "_" for c in extension)
                if member.isdir() or not extension or key.endswith("/") or not key:
                    if not member.isdir():
                        ignored["a member without a key or an extension"] += 1
                    continue
                if sample is None or key != sample.key:
                    if sample is not None:
                        yield sample
                    sample = IndexedSample(key)
                _add_member(sample, extension, member, size)
                _read_content(sample, extension, file)
        if sample is not None:
            yield sample
            sample = None
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        if sample is not None:
            yield sample
        detail = str(error) if any_header else _describe_content(path)
        raise RecordError("damaged_shard", detail) from error


def _read_headers(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    header_file = _HeaderFile(file)
    with tarfile.open(
        fileobj=cast(IO[bytes], header_file), mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as tar:
        end = 0
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it reads
            if member.size < 0 or tar.offset <= end or len(tar.pax_headers) > _MAX_ATTRIBUTES:
                raise tarfile.ReadError(f"no valid header at byte {end}")
            end = tar.offset
            yield member
            header_file.budget = _MAX_HEADER_BYTES
        # tarfile takes a broken header for the end of the tar, and it ignores a second tar after
        # the end of the first. After a real end, all bytes are zero.
        file.seek(tar.offset)
        rest = file.read(_END_BYTES)
        if not rest:
            raise tarfile.ReadError("it has no end mark: it was cut between two members")
        if rest.strip(b"\0"):
            raise tarfile.ReadError(f"no header at byte {tar.offset}, and the file goes on")


def _read_content(sample: IndexedSample, extension: str, file: IO[bytes]) -> None:
    """Read the content of a `.json` or of a label."""
    if extension == "json" and "json" in sample.members:
        name, offset, size = sample.members.pop("json")
        if size > MAX_JSON_BYTES:
            sample.problems["json"] = ("too_large", f"{name}: {size} bytes")
        else:
            file.seek(offset)
            sample.metadata_json = file.read(size)
    elif extension.rpartition(".")[2] in LABELS and extension in sample.members:
        _, offset, size = sample.members[extension]
        if size <= _MAX_LABEL_BYTES:
            file.seek(offset)
            sample.labels[extension] = file.read(size)


def _describe_content(path: str) -> str:
    """Return what a file is that is no tar."""
    with files.open_input(path) as file:
        start = file.read(24)
    if not start:
        return "it is empty"
    if packer := next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None):
        return f"it is compressed by {packer}"
    return f"it is no tar: it begins with {start!r}"


class _HeaderFile:
    """A file from which tarfile may read headers, up to a limit of bytes.

    Attributes:
        budget: bytes that may be read before the next member.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.budget = _MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        self.budget -= size
        if size < 0 or self.budget < 0:
            raise tarfile.ReadError(f"extended headers of more than {_MAX_HEADER_BYTES} bytes")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        if position < 0:
            raise tarfile.ReadError(f"a header leads to byte {position}")
        return self._file.seek(position)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _add_member(
    sample: IndexedSample, extension: str, member: tarfile.TarInfo, tar_bytes: int
) -> None:
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
        or (extension == "json" and sample.metadata_json is not None)
    ):
        sample.problems[extension] = ("duplicate", f"{name}: a second member of that name")
    elif member.offset_data + member.size > tar_bytes:
        detail = f"{name}: the tar ends before its {member.size} bytes do"
        sample.problems[extension] = ("damaged_shard", detail)
    else:
        sample.members[extension] = (name, member.offset_data, member.size)
