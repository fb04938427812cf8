"""Find compressed batches of an Arrow file: a small file would decompress to any size.

mmfeat writes columns uncompressed, so that they can be mapped. Arrow does not tell whether a batch
is compressed before it decompresses it, so the metadata are read here. They are flatbuffers, as in
`File.fbs` and `Message.fbs` of Arrow's format.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

_MAGIC = b"ARROW1"
_TAIL = struct.Struct("<i6s")
_BLOCK_BYTES = 24
_CONTINUATION = b"\xff" * 4

_MAX_METADATA = 1 << 20
"""Bytes of the metadata of a batch; those of a column of features take a thousand."""

_FOOTER_BLOCKS = (2, 3)
"""Fields of the footer: its dictionaries, its batches."""
_MESSAGE_HEADER = 2
"""Field of a message: a dictionary or a batch."""
_BATCH_COMPRESSION = 3
"""Field of a batch."""


def has_compressed_batch(file: Any) -> bool:
    """Return whether a batch or a dictionary of an Arrow file is compressed.

    Args:
        file: the file; it can be read at any position.

    Raises:
        pa.ArrowInvalid: its metadata are damaged.
    """
    size = file.seek(0, 2)
    footer_bytes, magic = _TAIL.unpack(_read(file, size - _TAIL.size, _TAIL.size))
    if magic != _MAGIC:
        raise pa.ArrowInvalid("no Arrow file ends like this")
    footer = _read(file, size - _TAIL.size - footer_bytes, footer_bytes)
    try:
        return any(_is_compressed(file, *block) for block in _blocks(_Flatbuffer(footer)))
    except struct.error as error:
        raise pa.ArrowInvalid("its metadata are damaged") from error


def _blocks(footer: "_Flatbuffer") -> Iterator[tuple[int, int]]:
    """Yield the offset and the size of the metadata of each dictionary and batch."""
    for number in _FOOTER_BLOCKS:
        if field := footer.field(footer.follow(0), number):
            start = footer.follow(field)
            for index in range(footer.number("I", start)):
                yield footer.block(start + 4 + index * _BLOCK_BYTES)


def _is_compressed(file: Any, offset: int, size: int) -> bool:
    metadata = _read(file, offset, size)
    is_prefixed = metadata.startswith(_CONTINUATION)  # older files have only the size here
    message = _Flatbuffer(metadata[8 if is_prefixed else 4 :])
    header = message.field(message.follow(0), _MESSAGE_HEADER)
    if not header:
        raise pa.ArrowInvalid("a message without a batch")
    return bool(message.field(message.follow(header), _BATCH_COMPRESSION))


def _read(file: Any, offset: int, size: int) -> bytes:
    end = file.seek(0, io.SEEK_END)  # far beyond it, seek itself fails
    if not 0 <= offset < end or not 0 < size <= _MAX_METADATA:
        raise pa.ArrowInvalid(f"{size} bytes of metadata at byte {offset}")
    file.seek(offset)
    data = bytes(file.read(size))
    if len(data) != size:
        raise pa.ArrowInvalid("it ends in its metadata")
    return data


class _Flatbuffer:
    """Reads tables of a flatbuffer. `struct.error` if a position is not in it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, form: str, position: int) -> int:
        """Return a number of a form of `struct`."""
        if position < 0:
            raise struct.error("a position before the start")
        return int(struct.unpack_from(f"<{form}", self._data, position)[0])

    def follow(self, position: int) -> int:
        """Return the position that an offset leads to."""
        return position + self.number("I", position)

    def field(self, table: int, number: int) -> int:
        """Return the position of a field of a table; 0 if the table lacks it."""
        layout, entry = table - self.number("i", table), 4 + 2 * number
        if entry >= self.number("H", layout):
            return 0
        offset = self.number("H", layout + entry)
        return table + offset if offset else 0

    def block(self, position: int) -> tuple[int, int]:
        """Return the offset and the size of the metadata of a block."""
        return self.number("q", position), self.number("i", position + 8)
