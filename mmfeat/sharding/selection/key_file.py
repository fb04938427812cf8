"""Files of keys: one key per line, a table with a key column, or DataComp's array of uids."""

import codecs
import posixpath
import zlib
from collections.abc import Iterator
from tokenize import TokenError

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.records import is_missing, key_text, to_json_value
from mmfeat.sources import TABLE_READERS, Table, UnreadBytes, file_sha256, open_table, read_rows
from mmfeat.storage import did_you_mean_path, files

_KEY_COLUMNS = ("__key__", "key", "uid")


def key_file_sha256(path: str) -> str:
    """Return the digest of a file of keys.

    Raises:
        MmfeatError: the file does not exist.
    """
    require_key_file(path)
    return file_sha256(path)


def read_keys(path: str) -> Iterator[str]:
    """Yield the keys of a file.

    Raises:
        MmfeatError: the file does not exist, or has no key column or another type of array.
    """
    require_key_file(path)
    suffix = posixpath.splitext(path.removesuffix(".gz").removesuffix(".zst"))[1].lower()
    if suffix == ".npy":
        return _read_uids(path)
    if suffix in TABLE_READERS:
        table = open_table(path)
        names = table.columns
        column = next((name for name in _KEY_COLUMNS if name in names), None)
        if column is None:
            raise MmfeatError(
                f"a table of keys needs a column called {', '.join(_KEY_COLUMNS[:-1])} or "
                f"{_KEY_COLUMNS[-1]}: {path}",
                got=", ".join(names),
            )
        return _read_column(table, column)
    return _read_lines(path)


def require_key_file(path: str) -> None:
    """Check that a file of keys exists.

    Raises:
        MmfeatError: it does not.
    """
    if files.size(path) is not None:
        return
    if files.exists(path):
        raise MmfeatError("the keys must be in a file", got=f"{path}, a folder or a device")
    raise MmfeatError("no such file of keys", got=path, cure=did_you_mean_path(path))


def check_keys(path: str) -> None:
    """Check that a file of keys can be read to its end, and has a key.

    Raises:
        MmfeatError: it cannot, or has none.
    """
    try:
        keys = sum(1 for _ in read_keys(path))
    except (EOFError, zlib.error, OSError) as error:
        if getattr(error, "errno", None) is not None:  # not of the decompression
            raise
        raise MmfeatError(f"the file of keys must be whole: {path}", got=str(error)) from error
    if not keys:
        raise MmfeatError("a file of keys must have a key", got=f"{path} without one")


def _read_column(table: Table, column: str) -> Iterator[str]:
    for row in read_rows(table, [column]):
        value = row.get(column) if isinstance(row, dict) else None
        if isinstance(value, UnreadBytes):
            raise MmfeatError(f"a key column must hold texts or numbers: {table.path}", got=column)
        if not is_missing(value):
            yield to_json_value(key_text(value))


def _read_lines(path: str) -> Iterator[str]:
    with files.open_decompressed(path) as file:
        for number, line in enumerate(file):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
            if key := text.decode(errors="surrogateescape").strip():
                yield to_json_value(key_text(key))


def _read_uids(path: str) -> Iterator[str]:
    """Yield DataComp's uids: each has 128 bits, stored as two unsigned integers."""
    with files.local_copy(path) as local:
        try:
            array = np.load(local, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError, OverflowError, TokenError) as error:
            reason = str(error).partition(" If you trust")[0]
            raise MmfeatError(f"{path} is no array of uids: {reason}") from error
        field_types = [dtype.kind for dtype, *_ in (array.dtype.fields or {}).values()]
        if array.dtype.kind != "V" or field_types != ["u", "u"] or array.ndim != 1:
            raise MmfeatError(
                "an array of uids must have two unsigned integers per row", got=array.dtype
            )
        for high, low in array:
            yield f"{int(high):016x}{int(low):016x}"
