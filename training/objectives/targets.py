"""Read classes, labels and numbers from a metadata column."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.errors import MmfeatError

MANY_CLASSES = 1000
"""A column with more classes, and fewer than two rows per class, is free text or a key."""


def check_target(target: str, available: Sequence[str]) -> None:
    """Check that the samples table has the target.

    Raises:
        MmfeatError: it does not; the error lists its columns and suggests a similar one.
    """
    if target not in available:
        close = get_close_matches(target, available, n=1)
        raise MmfeatError(
            f"the samples table has no column {target!r}; it has: {', '.join(available) or 'none'}",
            cure=f"Did you mean {close[0]!r}?" if close else "Name one of them with --target",
        )


def read_labels(column: pa.ChunkedArray, name: str) -> list[str | None]:
    """Return the class of each row as text; None for null, NaN and blank values.

    The integer 3, the float 3.0 and the text "3" are the same class.

    Raises:
        MmfeatError: the column holds values that are not classes.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_labels(column.cast(kind.value_type), name)
    if pa.types.is_null(kind):
        return [None] * len(column)
    values = column.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        labels = [value if value and not value.isspace() else None for value in values]
        _check_is_no_list(next(filter(None, labels), ""), name)
        return labels
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in values]
    if pa.types.is_integer(kind):
        return [None if value is None else str(value) for value in values]
    if pa.types.is_floating(kind):
        return [_to_class(value, name) for value in values]
    raise MmfeatError(
        f"the target {name!r} must hold text, whole numbers or booleans",
        got=str(kind),
        cure="Learn lists of labels with --task multilabel" if _is_list(kind) else "",
    )


def _check_is_no_list(label: str, name: str) -> None:
    """Raise if a label is a JSON array; `mmfeat shard` stores lists as JSON."""
    if label.startswith('["') and isinstance(_parse_json(label), list):
        raise MmfeatError(
            f"the target {name!r} must hold text, whole numbers or booleans, but it holds lists",
            got=label,
            cure="Learn lists of labels with --task multilabel",
        )


def _parse_json(text: str) -> Any:
    """Return the value of a JSON text; the text itself if it is not JSON."""
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
    """Return the distinct labels of each row; None for null.

    The column holds lists, JSON arrays (`mmfeat shard` stores lists as JSON), or text with a
    separator between the labels. An empty list or text is a record without labels.

    Raises:
        MmfeatError: the column holds other values.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_label_sets(column.cast(kind.value_type), name, separator)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        rows: list[Any] = [_split_labels(text, name, separator) for text in column.to_pylist()]
    elif pa.types.is_null(kind):
        rows = [None] * len(column)
    elif _is_list(kind) and _can_be_label(kind.value_type):
        rows = column.to_pylist()
    else:
        raise MmfeatError(
            f"the target {name!r} of --task multilabel must hold lists of labels, or text with "
            "--label-separator between labels",
            got=str(kind),
            cure="Or name several columns of 0 and 1 with --target A,B",
        )
    return [
        None if row is None else list(dict.fromkeys(filter(None, map(_clean_label, row))))
        for row in rows
    ]


def _can_be_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _can_be_label(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    return any(test(kind) for test in tests)


def _split_labels(text: str | None, name: str, separator: str) -> list[Any] | None:
    """Return the labels in a text: a JSON array or string, or text with a separator."""
    if text is None:
        return None
    if text.lstrip()[:1] not in ("[", '"'):
        return text.split(separator)
    value = _parse_json(text)
    if isinstance(value, str):
        if value.lstrip().startswith("[") and value.rstrip().endswith("]"):
            raise MmfeatError(
                f"the target {name!r} must hold lists as JSON, with double quotes",
                got=value,
                cure="Use double quotes, or text with commas between the labels",
            )
        return value.split(separator)
    if any(not isinstance(label, str | int | None) for label in value):
        raise MmfeatError(f"the target {name!r} must hold lists of labels", got=text)
    return list(value)


def _clean_label(label: object) -> str:
    return "" if label is None else str(label).strip()


def read_binary(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return 1 for yes, 0 for no, 255 for null; uint8, shape (rows,).

    Raises:
        MmfeatError: the column holds values other than booleans, 0 and 1.
    """
    numbers = _to_floats(column, name, "0, 1 or booleans")
    known = ~np.isnan(numbers)
    invalid = numbers[known & ~np.isin(numbers, (0, 1))]
    if len(invalid):
        raise MmfeatError(f"the target {name!r} must hold 0, 1 or booleans", got=float(invalid[0]))
    return np.where(known, numbers, 255).astype(np.uint8)


def read_numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return the numbers as float64, shape (rows,); NaN for null.

    Raises:
        MmfeatError: the column holds values other than finite numbers.
    """
    numbers = _to_floats(column, name, "numbers for --task regression")
    if np.isinf(numbers).any():
        raise MmfeatError(f"the target {name!r} must hold finite numbers", got="infinity")
    return numbers


def _to_floats(column: pa.ChunkedArray, name: str, allowed: str) -> np.ndarray:
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
        raise MmfeatError(f"the target {name!r} must hold {allowed}", got=str(kind))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    try:
        numbers = column.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise MmfeatError(f"the target {name!r} must hold {allowed}", got=str(error)) from None
    return np.asarray(numbers.to_numpy(), np.float64)


def _to_class(value: float | None, name: str) -> str | None:
    if value is None or np.isnan(value):
        return None
    if not float(value).is_integer():
        raise MmfeatError(
            f"the target {name!r} must hold classes, not fractions",
            got=value,
            cure="Learn the number with --task regression, or bin it into another column",
        )
    return str(int(value))


def find_classes(counts: Mapping[str, int], name: str) -> list[str]:
    """Return the classes of the training rows in order; numbers are sorted by value.

    Args:
        counts: label → number of training rows.
        name: the target.

    Raises:
        MmfeatError: there are fewer than two classes, or too many for a class column.
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
            "it is free text or a key, not a class",
            cure="Name another column with --target",
        )
    if all(label.lstrip("-").isdecimal() for label in counts):
        return sorted(counts, key=lambda label: (int(label), label))
    return sorted(counts)
