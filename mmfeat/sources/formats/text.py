"""Open a table as text."""

import codecs
import io
from typing import IO

from mmfeat.store import files

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
