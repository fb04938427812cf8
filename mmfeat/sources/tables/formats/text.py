"""Open a table as text."""

import codecs
import io
from collections.abc import Iterator
from typing import IO

from mmfeat.sources.tables.formats.limits import MAX_RECORD_CHARACTERS
from mmfeat.storage import files

_SKIPPED_CHARACTERS = 1 << 20
"""Characters of a long line that are skipped at a time."""

_SHOWN_CHARACTERS = 80

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order mark → encoding. The longest comes first."""


def find_encoding(path: str) -> str:
    """Return the encoding of a file: UTF-8, unless its byte order mark says UTF-16 or UTF-32."""
    with files.open_decompressed(path) as file:
        start = file.read(len(codecs.BOM_UTF32_LE))
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def open_text(path: str, newline: str = "") -> IO[str]:
    """Open a file as text. Bytes that are not text become lone surrogates (`is_utf8` tells).

    Args:
        path: the file; `.gz` and `.zst` are decompressed.
        newline: as for `open`.
    """
    encoding = find_encoding(path)
    is_utf8 = encoding == "utf-8"
    return io.TextIOWrapper(
        files.open_decompressed(path),
        encoding="utf-8-sig" if is_utf8 else encoding,
        errors="surrogateescape" if is_utf8 else "surrogatepass",
        newline=newline,
    )


class LongLine(str):
    """The start of a line with more characters than a record may have. Its rest is skipped."""

    __slots__ = ()


def read_lines(file: IO[str], ends: tuple[str, ...] = ("\n", "\r")) -> Iterator[str]:
    """Yield the lines of a file, each with its end. A `LongLine` stands for one that is too long.

    Args:
        file: a file from `open_text`.
        ends: characters that end a line, as the file is opened.
    """
    while line := file.readline(MAX_RECORD_CHARACTERS + 1):
        if len(line) <= MAX_RECORD_CHARACTERS:
            yield line
            continue
        yield LongLine(line[:_SHOWN_CHARACTERS])
        while line and not line.endswith(ends):
            line = file.readline(_SKIPPED_CHARACTERS)
