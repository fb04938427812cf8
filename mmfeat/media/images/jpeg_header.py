"""Read the header of a JPEG: whether it is one of the plain files that every decoder reads alike.

Decoders on a GPU accept files that Pillow rejects, and read some color spaces in another way. So
only files whose header and end are as usual go to them.
"""

import struct
from typing import NamedTuple

_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Markers of frames: baseline, extended and progressive, with Huffman codes."""
_OTHER_FRAMES = frozenset({*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC})
_SCAN, _EXIF, _ADOBE = 0xDA, 0xE1, 0xEE
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without content."""
_MAX_SEGMENTS = 100
_PADDING = b"\0\n\r "
"""Bytes that some programs write after the end."""
_ORIENTATION = 0x112
_SEGMENT = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")
_HEAD_BYTES = 1024
"""Most headers are shorter."""


class JpegHeader(NamedTuple):
    """What the header of a plain JPEG says.

    Attributes:
        width: in pixels, as stored.
        height: likewise.
        orientation: of its EXIF, 1 to 8.
    """

    width: int
    height: int
    orientation: int = 1


def read_plain_jpeg(data: bytes | memoryview) -> JpegHeader | None:
    """Read the header of a plain JPEG: 8 bits, gray or YCbCr, complete, no odd EXIF.

    Returns:
        None for any other file. Pillow then says what it is.
    """
    if data[:2] != _START or not bytes(data[-64:]).rstrip(_PADDING).endswith(_END):
        return None
    head = bytes(data[:_HEAD_BYTES])
    try:
        return _read_segments(head)
    except (struct.error, IndexError):  # it ends later, or never
        pass
    try:
        return _read_segments(bytes(data)) if len(data) > len(head) else None
    except (struct.error, IndexError):
        return None


def _read_segments(data: bytes) -> JpegHeader | None:
    size: tuple[int, int] | None = None
    orientation: int | None = 1
    position = 2
    for _ in range(_MAX_SEGMENTS):
        start, marker, length = _SEGMENT.unpack_from(data, position)
        if start != 0xFF:
            return None
        if marker == _SCAN:
            return JpegHeader(*size, orientation) if size and orientation else None
        if marker == 0xFF or marker in _ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        content = position + 4
        if length < 2 or marker in _OTHER_FRAMES or marker == _ADOBE:
            return None
        if marker in _FRAMES:
            size = _read_frame(data, content)
            if size is None:
                return None
        elif marker == _EXIF and data.startswith(b"Exif\0\0", content):
            if content + length - 2 > len(data):
                raise IndexError
            orientation = _read_orientation(data[content + 6 : content + length - 2])
        position += 2 + length
    return None


def _read_frame(data: bytes, position: int) -> tuple[int, int] | None:
    """Return width and height, if the frame has 8 bits, and gray or YCbCr."""
    bits, height, width, components = _FRAME.unpack_from(data, position)
    names = data[position + 6 : position + 6 + 3 * components : 3]
    plain = components == 1 or (components == 3 and names != b"RGB")
    return (width, height) if bits == 8 and plain and width and height else None


def _read_orientation(tiff: bytes) -> int | None:
    """Return the orientation of EXIF data, 1 if there is none, None if it cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    magic, start = struct.unpack_from(f"{order}HI", tiff, 2)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    if magic != 42:
        return None
    for number in range(count):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * number)
        if tag == _ORIENTATION:
            return value if kind == 3 and values == 1 and 1 <= value <= 8 else None
    return 1
