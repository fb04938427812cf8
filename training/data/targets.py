"""From a metadata column to classes, labels and numbers."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
        labels = [value if value and not value.isspace() else None for value in values]
        _refuse_lists(next(filter(None, labels), ""), name)
        return labels
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in values]
    if pa.types.is_integer(kind):
        return [None if value is None else str(value) for value in values]
    if pa.types.is_floating(kind):
        return [_whole(value, name) for value in values]
    raise MmfeatError(
        f"the target {name!r} must hold text, whole numbers or booleans",
        got=str(kind),
        cure="Learn lists of labels with --task multilabel" if _is_list(kind) else "",
    )


def _refuse_lists(label: str, name: str) -> None:
    """Raise where a label is a JSON array, as `mmfeat shard` stores the lists it reads."""
    if label.startswith('["') and isinstance(_from_json(label), list):
        raise MmfeatError(
            f"the target {name!r} must hold text, whole numbers or booleans, and holds lists",
            got=label,
            cure="Learn lists of labels with --task multilabel",
        )


def _from_json(text: str) -> Any:
    """What a JSON text says; the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def read_label_sets(
    column: pa.ChunkedArray, name: str, separator: str = ","
) -> list[list[str] | None]:
    """The labels of each row, without repeats; None where the row says nothing at all (null).

    A column of lists, or of text: a JSON array, as `mmfeat shard` stores the lists it reads, or
    labels with a separator between them. An empty list or text is a record that has none.

    Raises:
        MmfeatError: the column holds something else.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_label_sets(column.cast(kind.value_type), name, separator)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        rows: list[Any] = [_labels_in(text, name, separator) for text in column.to_pylist()]
    elif pa.types.is_null(kind):
        rows = [None] * len(column)
    elif _is_list(kind) and _can_be_label(kind.value_type):
        rows = column.to_pylist()
    else:
        raise MmfeatError(
            f"the target {name!r} of --task multilabel must hold lists of labels, or text with "
            "--label-separator between them; or name several columns of 0 and 1, with commas",
            got=str(kind),
        )
    return [
        None if row is None else list(dict.fromkeys(w for w in map(_word, row) if w))
        for row in rows
    ]


def _can_be_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _can_be_label(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    return any(test(kind) for test in tests)


def _labels_in(text: str | None, name: str, separator: str) -> list[Any] | None:
    """The labels that a text says: a JSON array or string, or words with a separator."""
    if text is None:
        return None
    if text.lstrip()[:1] not in ("[", '"'):
        return text.split(separator)
    value = _from_json(text)
    if isinstance(value, str):
        if value.lstrip().startswith("[") and value.rstrip().endswith("]"):
            raise MmfeatError(
                f"the target {name!r} must hold lists as JSON, with double quotes",
                got=value,
                cure="Write them so, or as text with commas between the labels",
            )
        return value.split(separator)
    if any(not isinstance(label, str | int | None) for label in value):
        raise MmfeatError(f"the target {name!r} must hold lists of labels", got=text)
    return list(value)


def _word(label: object) -> str:
    return "" if label is None else str(label).strip()


def read_flags(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """uint8: 1 for yes, 0 for no, 255 where the row says nothing.

    Raises:
        MmfeatError: the column holds something other than booleans, 0 and 1.
    """
    numbers = _as_floats(column, name, "0, 1 or booleans")
    there = ~np.isnan(numbers)
    wrong = numbers[there & ~np.isin(numbers, (0, 1))]
    if len(wrong):
        raise MmfeatError(f"the target {name!r} must hold 0, 1 or booleans", got=float(wrong[0]))
    return np.where(there, numbers, 255).astype(np.uint8)


def read_numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """float64; NaN where the row says nothing.

    Raises:
        MmfeatError: the column holds something other than finite numbers.
    """
    numbers = _as_floats(column, name, "numbers for --task regression")
    if np.isinf(numbers).any():
        raise MmfeatError(f"the target {name!r} must hold finite numbers", got="infinity")
    return numbers


def _as_floats(column: pa.ChunkedArray, name: str, what: str) -> np.ndarray:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, kind), column)
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise MmfeatError(f"the target {name!r} must hold {what}", got=str(kind))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    try:
        numbers = column.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise MmfeatError(f"the target {name!r} must hold {what}", got=str(error)) from None
    return np.asarray(numbers.to_numpy(), np.float64)


def _whole(value: float | None, name: str) -> str | None:
    if value is None or np.isnan(value):
        return None
    if not float(value).is_integer():
        raise MmfeatError(
            f"the target {name!r} must hold classes; a fraction is none",
            got=value,
            cure="Learn the number with --task regression, or bin it into a column of its own",
        )
    return str(int(value))


def find_classes(counts: Mapping[str, int], name: str) -> list[str]:
    """The classes among the training rows' labels, sorted; numbers by value.

    Args:
        counts: label → training rows that have it.
        name: the target.

    Raises:
        MmfeatError: fewer than two, or so many that the column is no class at all.
    """
    if len(counts) < 2:
        raise MmfeatError(
            f"the target {name!r} must have at least two classes among the training rows",
            got=sorted(counts),
        )
    rows = sum(counts.values())
    if len(counts) > MANY_CLASSES and len(counts) > rows / 2:
        raise MmfeatError(
            f"the target {name!r} has {len(counts):,} classes in {rows:,} training rows: "
            "that is free text or a key, not a class",
            cure="Name another column with --target",
        )
    if all(label.lstrip("-").isdecimal() for label in counts):
        return sorted(counts, key=lambda label: (int(label), label))
    return sorted(counts)
