"""From a metadata column to classes."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from mmfeat.errors import MmfeatError

MANY_CLASSES = 1000
"""Beyond this, a column with a class for every other row is taken for free text or a key."""


def check_target(target: str, available: Sequence[str]) -> None:
    """Raise the error that names the columns there are, and the one that was likely meant."""
    if target not in available:
        close = get_close_matches(target, available, n=1)
        raise MmfeatError(
            f"the samples table has no column {target!r}; it has: {', '.join(available) or 'none'}",
            cure=f"Did you mean {close[0]!r}?" if close else "Name one of them with --target",
        )


def read_labels(column: pa.ChunkedArray, name: str) -> list[str | None]:
    """The class of each row as text; None where the row says none (null, NaN or blank).

    Numbers must be whole and lose their type: 3, 3.0 and "3" are one class.

    Raises:
        MmfeatError: the column holds something that is not a class.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_labels(column.cast(kind.value_type), name)
    if pa.types.is_null(kind):
        return [None] * len(column)
    values = column.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [value if value and not value.isspace() else None for value in values]
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in values]
    if pa.types.is_integer(kind):
        return [None if value is None else str(value) for value in values]
    if pa.types.is_floating(kind):
        return [_whole(value, name) for value in values]
    raise MmfeatError(
        f"the target {name!r} must hold text, whole numbers or booleans", got=str(kind)
    )


def _whole(value: float | None, name: str) -> str | None:
    if value is None or np.isnan(value):
        return None
    if not float(value).is_integer():
        raise MmfeatError(
            f"the target {name!r} must hold classes; a fraction is none",
            got=value,
            cure="Bin the values into a column of their own, and name that",
        )
    return str(int(value))


def find_classes(labels: Iterable[str], name: str) -> list[str]:
    """The classes among the training rows' labels, sorted; numbers by value.

    Raises:
        MmfeatError: fewer than two, or so many that the column is no class at all.
    """
    labels = list(labels)
    classes = set(labels)
    if len(classes) < 2:
        raise MmfeatError(
            f"the target {name!r} must have at least two classes among the training rows",
            got=sorted(classes),
        )
    if len(classes) > MANY_CLASSES and len(classes) > len(labels) / 2:
        raise MmfeatError(
            f"the target {name!r} has {len(classes):,} classes in {len(labels):,} training rows: "
            "that is free text or a key, not a class",
            cure="Name another column with --target",
        )
    if all(label.lstrip("-").isdecimal() for label in classes):
        return sorted(classes, key=lambda label: (int(label), label))
    return sorted(classes)


def encode(labels: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """int64 index of each label among the classes; -1 where training never saw it."""
    index = {name: number for number, name in enumerate(classes)}
    return np.fromiter((index.get(label, -1) for label in labels), np.int64)
