"""Open Parquet files. The footer is checked before Arrow reads it.

Arrow descends into a nested schema until its stack ends, which kills the process: 200 KB do.
The schema is a list of elements in Thrift's compact protocol, each with its number of children.
"""

import struct
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

MAX_LEVELS = 100
"""Levels of lists and structs in a schema."""

_SHALLOW_BYTES = 1 << 15
"""A level takes at least seven bytes, and a stack of 8 MB bears 12,000 levels."""

_END_BYTES = 1 << 16
"""Arrow reads as much first, so a file in an object store has it in its buffer then."""

_TAIL = struct.Struct("<I4s")
_SCHEMA = 2
"""Field of the footer."""
_CHILDREN = 5
"""Field of an element of the schema."""

_STOP, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 3, 7, 8, 9, 10, 11, 12
_BOOLS, _INTEGERS = (1, 2), (4, 5, 6)
_FIXED_BYTES = {1: 0, 2: 0, _BYTE: 1, _DOUBLE: 8}
"""Kind → bytes of a value. A boolean of a struct is in its kind."""


def open_parquet(file: IO[bytes], **options: Any) -> pq.ParquetFile:
    """Open a Parquet file.

    It is read in the thread of the caller: a thread of Arrow that lets go of bytes of Python while
    the interpreter ends aborts the process. `pre_buffer=True` and `use_threads=True` start threads.

    Args:
        file: the file; it can be read at any position.
        options: of `pq.ParquetFile`.

    Raises:
        pa.ArrowInvalid: it is no valid Parquet file, or its schema has too many levels.
    """
    _check_levels(file)
    return pq.ParquetFile(file, **{"pre_buffer": False, **options})


def _check_levels(file: IO[bytes]) -> None:
    """Raise an error if a schema has more than `MAX_LEVELS` levels."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES))
    end = file.read(_END_BYTES)
    if len(end) < _TAIL.size:
        return  # Arrow explains it
    footer_bytes, _ = _TAIL.unpack(end[-_TAIL.size :])
    if not _SHALLOW_BYTES < footer_bytes <= size - _TAIL.size:
        return
    if footer_bytes + _TAIL.size > len(end):
        file.seek(size - _TAIL.size - footer_bytes)
        end = file.read(footer_bytes + _TAIL.size)
    footer = end[-_TAIL.size - footer_bytes : -_TAIL.size]
    try:
        levels = _Footer(footer).levels()
    except (IndexError, RecursionError) as error:
        raise pa.ArrowInvalid("its footer is damaged") from error
    if levels > MAX_LEVELS:
        raise pa.ArrowInvalid(f"its schema has {levels:,} levels, more than {MAX_LEVELS}")


class _Footer:
    """The bytes of a footer, and the position of the next value."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def levels(self) -> int:
        """Return the number of levels of the schema; the top level does not count."""
        levels = [0]
        for number, kind in self._fields():
            if number == _SCHEMA and kind == _LIST:
                levels += self._element_levels()
            else:
                self._skip(kind)
        return max(levels)

    def _element_levels(self) -> list[int]:
        """Return the level of each element of the schema, in which parents come first."""
        open_children: list[int] = []
        levels = []
        for _ in range(self._list_header()[0]):
            while open_children and not open_children[-1]:
                open_children.pop()
            if open_children:
                open_children[-1] -= 1
            levels.append(len(open_children))
            open_children.append(self._children())
        return levels

    def _children(self) -> int:
        """Read an element of the schema; return its number of children."""
        children = 0
        for number, kind in self._fields():
            if number == _CHILDREN and kind in _INTEGERS:
                children = self._integer() >> 1
            else:
                self._skip(kind)
        return children

    def _fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and kind of each field of a struct; the caller reads or skips its value."""
        number = 0
        while (header := self._byte()) != _STOP:
            number = number + (header >> 4) if header >> 4 else self._integer() >> 1
            yield number, header & 15

    def _skip(self, kind: int) -> None:
        if kind in _INTEGERS:
            self._integer()
        elif kind == _BINARY:
            size = self._integer()
            self._position += size
        elif kind in _FIXED_BYTES:
            self._position += _FIXED_BYTES[kind]
        elif kind in (_LIST, _SET):
            size, item = self._list_header()
            for _ in range(size):
                self._skip_item(item)
        elif kind == _MAP:
            if size := self._integer():
                kinds = self._byte()
                for _ in range(size):
                    self._skip_item(kinds >> 4)
                    self._skip_item(kinds & 15)
        elif kind == _STRUCT:
            for _, field in self._fields():
                self._skip(field)
        else:
            raise IndexError(f"no value is of kind {kind}")

    def _skip_item(self, kind: int) -> None:
        """Skip an item of a list: there, a boolean takes a byte."""
        self._skip(_BYTE if kind in _BOOLS else kind)

    def _list_header(self) -> tuple[int, int]:
        header = self._byte()
        size = header >> 4
        return (self._integer() if size == 15 else size), header & 15

    def _integer(self) -> int:
        """Read a number in groups of 7 bits, lowest first. Bit 0 of a signed one is its sign."""
        value = shift = 0
        while (byte := self._byte()) >= 128 and shift < 64:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _byte(self) -> int:
        byte = self._data[self._position]
        self._position += 1
        return byte
