"""Check that WebDataset reads a tar, and finds the samples of its table in their order.

tarfile, with which WebDataset reads, takes fifty times longer for a header than a comparison. So
the headers are compared with those that `TarWriter` writes, byte by byte, and WebDataset groups
their names. WebDataset itself reads the first samples, and the whole tar if a header differs.
"""

import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, zip_longest
from typing import IO, TypeAlias

from mmfeat.errors import RecordError
from mmfeat.shards import PICKLES, index_tar, tar_header
from mmfeat.storage import files
from mmfeat.store import FileRecorder, RecordedFile
from mmfeat.verification.check_bytes import compare_digests, compare_size

Keys: TypeAlias = Callable[[], Iterable[str]]
"""Reads the keys that the samples of a tar must have, in order."""

_BLOCK = tarfile.BLOCKSIZE
_NO_HEADER = b"\0" * _BLOCK

_MAX_EXTENDED_BYTES = 1 << 16
"""Limit for the extended header of a name that is long or not ASCII."""

_FIRST_SAMPLES = 4


class _OtherFormError(Exception):
    """A tar is not as `TarWriter` writes it, or WebDataset would skip a member."""


def check_tar(path: str, info: RecordedFile, keys: Keys) -> str:
    """Check a tar. It is read once, block by block.

    Args:
        path: the tar.
        info: what its receipt records.
        keys: reads the keys of its samples.

    Returns:
        What is wrong; empty if nothing is.

    Raises:
        RecordError: the tar has the bytes of its receipt but cannot be read.
    """
    if problem := compare_size(path, info):
        return problem
    recorder, is_plain = FileRecorder(), True
    with files.open_input(path) as file:
        blocks = recorder.read(file)
        try:
            problem = _compare(keys(), _group(_read_names(blocks)))
        except (_OtherFormError, ValueError):  # WebDataset's error for a name is a ValueError
            is_plain = False
        for _ in blocks:  # the digests need the rest
            pass
    if other_bytes := compare_digests(recorder.info, info):
        return other_bytes
    if not is_plain:
        return _check_other_form(path, keys)
    if problem:
        return problem
    with files.open_input(path) as file:
        first = islice(_read_by_webdataset(file), _FIRST_SAMPLES)
        return _compare(islice(keys(), _FIRST_SAMPLES), first)


def _check_other_form(path: str, keys: Keys) -> str:
    """Check a tar of any form with WebDataset."""
    # The headers are checked first: WebDataset reads members of any size.
    for sample in index_tar(path, Counter()):
        if sample.problems:
            return f"has a member that must not be read: {next(iter(sample.problems.values()))[1]}"
    with files.open_input(path) as file:
        return _compare(keys(), _read_by_webdataset(file))


def _compare(expected_keys: Iterable[str], keys: Iterable[str]) -> str:
    for expected, key in zip_longest(expected_keys, keys):
        if expected != key:
            return f"has the sample {key!r} where the table has {expected!r}"
    return ""


def _group(names: Iterable[str]) -> Iterator[str]:
    """Yield the keys of the samples that WebDataset makes of members.

    Raises:
        ValueError: a sample has two members of one name.
    """
    from webdataset.tariterators import group_by_keys  # imports torch

    members = ({"fname": name, "data": b"", "__url__": ""} for name in names)
    for sample in group_by_keys(members):
        yield sample["__key__"]


def _read_by_webdataset(file: IO[bytes]) -> Iterator[str]:
    """Yield the keys of the samples of a tar, read whole by WebDataset."""
    from webdataset.tariterators import group_by_keys, tar_file_iterator  # imports torch

    try:
        members = ({**member, "__url__": ""} for member in tar_file_iterator(file))
        for sample in group_by_keys(members):
            yield sample["__key__"]
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise RecordError("damaged_shard", f"WebDataset cannot read it: {error}") from error


def _read_names(blocks: Iterator[bytes]) -> Iterator[str]:
    """Yield the names of the members of a tar.

    Args:
        blocks: its content; the length of each is a multiple of 512 bytes.

    Raises:
        _OtherFormError: a header or the end is not as `TarWriter` writes it.
    """
    buffer, position = b"", 0
    for block in blocks:
        buffer, position = buffer[position:] + block, max(0, position - len(buffer))
        while position < len(buffer):
            header = _cut_header(buffer, position)
            if header == _NO_HEADER:
                return _check_end(buffer[position:], blocks)
            if not header:  # it goes on in the next block
                break
            name, size = _parse_header(header)
            yield name
            position += len(header) + size + -size % _BLOCK
    raise _OtherFormError


def _cut_header(buffer: bytes, position: int) -> bytes:
    """Return the header at a position, with its extended header; empty if it is not complete."""
    header = buffer[position : position + _BLOCK]
    if header[156:157] != tarfile.XHDTYPE:
        return header
    size = _parse_size(header)
    if size > _MAX_EXTENDED_BYTES:
        raise _OtherFormError
    end = position + 2 * _BLOCK + size + -size % _BLOCK
    return buffer[position:end] if end <= len(buffer) else b""


def _parse_header(header: bytes) -> tuple[str, int]:
    """Return name and size of a member."""
    if len(header) == _BLOCK:
        encoded = header[:100].rstrip(b"\0")
    else:
        encoded = header[_BLOCK:].partition(b" path=")[2].partition(b"\n")[0]
    name, size = encoded.decode(errors="surrogateescape"), _parse_size(header[-_BLOCK:])
    is_skipped = name.startswith("__") or name.rpartition(".")[2].lower() in PICKLES
    if is_skipped or header != tar_header(name, size):
        raise _OtherFormError
    return name, size


def _parse_size(header: bytes) -> int:
    digits = header[124:135]
    if not digits.isdigit():
        raise _OtherFormError
    return int(digits, 8)


def _check_end(rest: bytes, blocks: Iterable[bytes]) -> None:
    """Check that a tar ends with an end mark, and that nothing follows."""
    zeros = 0
    for block in chain([rest], blocks):
        if block.strip(b"\0"):
            raise _OtherFormError
        zeros += len(block)
    if zeros < 2 * _BLOCK:
        raise _OtherFormError
