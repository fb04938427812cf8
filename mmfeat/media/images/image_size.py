"""Read the size of a JPEG or PNG from its header, without Pillow.

Pillow takes 20 to 30 µs to open an image, a fifth of the time per record in sharding. This takes 3
µs for common headers. It returns None for everything unusual: whenever it returns a size, Pillow
opens the image and finds the same size.
"""

import zlib
from typing import NamedTuple

_JPEG_START = b"\xff\xd8\xff"
_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
_SKIPPED_MARKERS = frozenset({0xC4, 0xDD, 0xFE})
"""Huffman tables, restart interval, comment: Pillow skips them too."""

_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_HEADER_BYTES = 33
_PNG_BIT_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""PNG color type → valid bit depths."""
_FIXED_CHUNKS = {b"sRGB": 1, b"gAMA": 4, b"pHYs": 9}
"""PNG chunk → its length."""
_MAX_HEADER_BYTES = 1 << 16


class JpegFrame(NamedTuple):
    """Size of a JPEG in pixels, and its channels: 1 or 3."""

    width: int
    height: int
    channels: int


def read_header_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a common JPEG or PNG; None if Pillow must decide."""
    if data.startswith(_JPEG_START):
        return _read_jpeg_size(data)
    if data.startswith(_PNG_START):
        return _read_png_size(data)
    return None


def _read_jpeg_size(data: bytes) -> tuple[int, int] | None:
    frame = read_jpeg_frame(data)
    return frame and (frame.width, frame.height)


def read_jpeg_frame(data: bytes) -> JpegFrame | None:
    """Return the frame of a common JPEG; None for any other file: Pillow must decide.

    Walks the segments up to the scan: JFIF, tables, comments, and one frame of 8 bits.
    """
    if not data.startswith(_JPEG_START):
        return None
    position, end = 2, min(len(data), _MAX_HEADER_BYTES)
    frame: JpegFrame | None = None
    while position + 4 <= end:
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        length = (data[position + 2] << 8) | data[position + 3]
        content, next_position = position + 4, position + 2 + length
        if length < 2 or next_position > end:
            return None
        if marker == 0xDA:  # start of scan
            return frame
        if marker == 0xE0:
            if data[content : content + 5] != b"JFIF\0" or length < 16:
                return None
        elif marker == 0xDB:
            if not _are_complete_tables(data, content, next_position):
                return None
        elif marker in _FRAME_MARKERS:
            channels = data[content + 5]
            if frame or data[content] != 8 or channels not in (1, 3) or length != 8 + 3 * channels:
                return None
            frame = JpegFrame(
                (data[content + 3] << 8) | data[content + 4],
                (data[content + 1] << 8) | data[content + 2],
                channels,
            )
            if not all(frame):
                return None
        elif marker not in _SKIPPED_MARKERS:
            return None
        position = next_position
    return None


def _are_complete_tables(data: bytes, content: int, end: int) -> bool:
    """Return whether a segment has complete 8-bit quantization tables only."""
    return (end - content) % 65 == 0 and all(data[at] < 16 for at in range(content, end, 65))


def _read_png_size(data: bytes) -> tuple[int, int] | None:
    """Walk IHDR and the chunks of fixed length up to the first IDAT."""
    if not _is_valid_chunk(data, 8, 13):
        return None
    bit_depth, color_type, compression, filter_method, interlace = data[24:29]
    if bit_depth not in _PNG_BIT_DEPTHS.get(color_type, ()):
        return None
    if compression or filter_method or interlace > 1:
        return None
    position = _PNG_HEADER_BYTES
    while (name := data[position + 4 : position + 8]) in _FIXED_CHUNKS:
        length = _FIXED_CHUNKS[name]
        if not _is_valid_chunk(data, position, length):
            return None
        position += 12 + length
    if name != b"IDAT" or len(data) < position + 20:
        return None
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return size if all(0 < side < 2**31 for side in size) else None


def _is_valid_chunk(data: bytes, position: int, length: int) -> bool:
    """Return whether a chunk has this length and a correct checksum."""
    end = position + 8 + length
    stored_length = int.from_bytes(data[position : position + 4], "big")
    checksum = int.from_bytes(data[end : end + 4], "big")
    return stored_length == length and zlib.crc32(data[position + 4 : end]) == checksum
