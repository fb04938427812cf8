"""The texts of a target column, in Arrow memory: one or several per record."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmfeat.errors import MmfeatError
from mmfeat.records import is_blank

MAX_CELL_CHARACTERS = 1 << 20
"""Characters of a target text that are kept."""

_TYPE = pa.list_(pa.large_string())


class TextRows:
    """Texts by number. The numbers stand for the texts in `Dataset.targets`.

    Attributes:
        has_lists: whether a record has several texts.
    """

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []
        self._count = 0
        self.has_lists = False

    def __len__(self) -> int:
        return self._count

    def append(self, rows: Sequence[list[str] | None]) -> np.ndarray:
        """Add the texts of records and return their numbers, int64; -1 for a record without."""
        known = [row for row in rows if row]
        self._chunks.append(pa.array(known, _TYPE))
        self.has_lists |= any(len(row) > 1 for row in known)
        numbers = np.full(len(rows), -1, np.int64)
        has_text = np.array([bool(row) for row in rows], bool)
        numbers[has_text] = self._count + np.arange(len(known))
        self._count += len(known)
        return numbers

    def take(self, numbers: np.ndarray) -> list[list[str]]:
        """Return the texts of some records."""
        if not len(numbers):
            return []
        if len(self._chunks) > 1:
            self._chunks = [pa.concat_arrays(self._chunks)]
        rows: list[list[str]] = self._chunks[0].take(pa.array(numbers)).to_pylist()
        return rows


def clean_texts(value: object, name: str) -> list[str] | None:
    """Return the texts of a cell; None if it has none.

    Args:
        value: a text, a list of texts, or None.
        name: the target, for errors.

    Raises:
        MmfeatError: the cell holds other values.
    """
    cells = value if isinstance(value, list) else [value]
    texts = []
    for cell in cells:
        if cell is None:
            continue
        if not isinstance(cell, str):
            raise MmfeatError(
                f"the target {name!r} of --task describe must hold texts, or lists of texts",
                got=cell,
                cure="Learn numbers with --task regression, and classes with --task multiclass",
            )
        if not is_blank(cell):
            texts.append(cell.strip()[:MAX_CELL_CHARACTERS])
    return texts or None
