"""Read classes, labels and numbers from a metadata column."""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from mmfeat.errors import MmfeatError, did_you_mean
from mmfeat.records import (
    canonical_text,
    decimal_comma_cure,
    is_blank,
    is_missing,
    is_null_word,
    read_cells,
    to_number,
)

MANY_NUMBERS = 20
"""A column with more numbers, and fewer than two rows per number, is a quantity or a key."""

MANY_CLASSES = 1000
"""A column with more classes, and fewer than two rows per class, is free text or a key."""

ALMOST_ALL = 0.9
"""A column with more classes than this fraction of the rows is free text or a key, too."""

_LEARN_LISTS = "Learn lists of labels with --task multilabel"

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def check_target(target: str, available: Sequence[str], own: Collection[str] = ()) -> None:
    """Check that the samples table has the target.

    Args:
        target: name of the column.
        available: the metadata columns of the samples table.
        own: columns that mmfeat adds, such as `image_status`.

    Raises:
        MmfeatError: it does not; the error lists its columns and suggests a similar one.
    """
    if target in available:
        return
    rule = (
        f"the target must be a column of the input, and mmfeat wrote {target!r}; the input has"
        if target in own
        else f"the samples table has no column {target!r}; it has"
    )
    raise MmfeatError(
        f"{rule}: {', '.join(available) or 'none'}",
        cure=did_you_mean(target, available) or "Name one of them with --target",
    )


def read_target_cells(table: pa.Table, name: str, null_labels: Collection[str] = ()) -> list[Any]:
    """Return the values of a target column; None for null, NaN, and texts without a target.

    All tasks read their target with this rule. Texts lose the spaces around them.

    Args:
        table: the samples table.
        name: the column.
        null_labels: texts that mean "no target".
    """
    return [_clean_cell(value, null_labels) for value in read_cells(table, name)]


def _clean_cell(value: Any, null_labels: Collection[str]) -> Any:
    if isinstance(value, str):
        text = value.strip()
        return None if text in null_labels else text
    return None if is_missing(value) else value


def read_labels(table: pa.Table, name: str, null_labels: Collection[str] = ()) -> list[str | None]:
    """Return the class of each row as text; None for null, NaN, blank values and `null_labels`.

    A text keeps its spelling. `mmfeat.records.canonical_text` says which texts are the same class.

    Raises:
        MmfeatError: the column holds values that are not classes.
    """
    labels = [_to_label(value, name) for value in read_target_cells(table, name, null_labels)]
    _check_is_no_list(next(filter(None, labels), ""), name)
    return labels


def _to_label(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return None if is_blank(value) else value
    if isinstance(value, float) and not value.is_integer():
        raise MmfeatError(
            f"the target {name!r} must hold classes, not fractions",
            got=value,
            cure="Learn the number with --task regression, or bin it into another column",
        )
    if not isinstance(value, bool | int | float):
        raise MmfeatError(
            f"the target {name!r} must hold text, whole numbers or booleans",
            got=value,
            cure=_LEARN_LISTS if isinstance(value, list) else "",
        )
    return canonical_text(value)


def _check_is_no_list(label: str, name: str) -> None:
    """Raise if a label is a JSON array in a text."""
    if label.startswith('["') and isinstance(_parse_json(label), list):
        raise MmfeatError(
            f"the target {name!r} must hold text, whole numbers or booleans, but it holds lists",
            got=label,
            cure=_LEARN_LISTS,
        )


def _parse_json(text: str) -> Any:
    """Return the value of a JSON text; the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def read_label_sets(
    table: pa.Table, name: str, separator: str = ",", null_labels: Collection[str] = ()
) -> list[list[str] | None]:
    """Return the distinct labels of each row; None for null, and for `null_labels` alone.

    A cell is a list, a text that is a JSON array, or text with a separator between the labels. An
    empty list or text is a record without labels.

    Raises:
        MmfeatError: the column holds other values.
    """
    has_numbers = _is_number(table.schema.field(name).type)
    rows: list[list[str] | None] = []
    for value in read_target_cells(table, name, null_labels):
        labels: Any = value
        if isinstance(value, str):
            labels = _split_labels(value, name, separator)
        elif isinstance(value, bool | int) and not has_numbers:
            labels = [value]  # one label in a column that also holds lists or text
        if labels is not None and not (
            isinstance(labels, list) and all(_can_be_label(label) for label in labels)
        ):
            raise MmfeatError(
                f"the target {name!r} of --task multilabel must hold lists of labels, or text with "
                "--label-separator between labels",
                got=value,
                cure="Or name several columns of 0 and 1 with --target A,B",
            )
        rows.append(None if labels is None else _clean_labels(labels, null_labels))
    return rows


def _clean_labels(labels: Sequence[Any], null_labels: Collection[str]) -> list[str] | None:
    """Return the distinct labels; None if all of them mean "no target"."""
    names = dict.fromkeys(filter(None, map(_clean_label, labels)))
    known = [name for name in names if name not in null_labels]
    return known if known or not names else None


def _is_number(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal,
        pa.types.is_null,
    )  # fmt: skip
    return any(test(kind) for test in tests)


def _can_be_label(value: Any) -> bool:
    return isinstance(value, str | int | None) or (isinstance(value, float) and value.is_integer())


def _split_labels(text: str, name: str, separator: str) -> Any:
    """Return the labels in a text: a JSON array or string, or text with a separator."""
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
    return value


def _clean_label(label: Any) -> str:
    if label is None:
        return ""
    return label.strip() if isinstance(label, str) else canonical_text(label)


def read_binary(table: pa.Table, name: str, null_labels: Collection[str] = ()) -> np.ndarray:
    """Return 1 for yes, 0 for no, 255 for null; uint8, shape (rows,).

    Raises:
        MmfeatError: the column holds values other than booleans, 0 and 1.
    """
    numbers = _read_floats(table, name, "0, 1 or booleans", null_labels)
    known = ~np.isnan(numbers)
    invalid = numbers[known & ~np.isin(numbers, (0, 1))]
    if len(invalid):
        raise MmfeatError(f"the target {name!r} must hold 0, 1 or booleans", got=float(invalid[0]))
    return np.where(known, numbers, 255).astype(np.uint8)


def read_numbers(table: pa.Table, name: str, null_labels: Collection[str] = ()) -> np.ndarray:
    """Return the numbers as float64, shape (rows,); NaN for null.

    Raises:
        MmfeatError: the column holds values other than finite numbers.
    """
    numbers = _read_floats(table, name, "numbers for --task regression", null_labels)
    if np.isinf(numbers).any():
        raise MmfeatError(f"the target {name!r} must hold finite numbers", got="infinity")
    return numbers


def _read_floats(
    table: pa.Table, name: str, allowed: str, null_labels: Collection[str]
) -> np.ndarray:
    column = table[name]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if _is_number(column.type):
        # Not safe: large integers, such as times in nanoseconds, are rounded.
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    cells = read_target_cells(table, name, null_labels)
    return np.array([_to_float(value, name, allowed) for value in cells])


def _to_float(value: Any, name: str, allowed: str) -> float:
    if value is None or (isinstance(value, str) and is_blank(value)):
        return math.nan
    number = to_number(value)
    if number is None:
        is_null = isinstance(value, str) and is_null_word(value)
        cure = (
            f"If it means that there is no target: --null-labels {value}"
            if is_null
            else decimal_comma_cure(str(value))
        )
        raise MmfeatError(f"the target {name!r} must hold {allowed}", got=value, cure=cure)
    try:
        return float(number)
    except OverflowError:
        return math.inf


def hold_numbers(labels: Collection[str]) -> bool:
    """Return whether all labels are numbers."""
    return all(map(_NUMBER.fullmatch, labels))


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
    are_numbers = hold_numbers(counts)
    is_class = len(counts) <= MANY_NUMBERS or len(counts) <= rows / 2
    if not is_class and (are_numbers or len(counts) > min(MANY_CLASSES, ALMOST_ALL * rows)):
        kind = "a quantity or a key" if are_numbers else "free text or a key"
        use_number = "Learn the number with --task regression, or name" if are_numbers else "Name"
        raise MmfeatError(
            f"the target {name!r} has {len(counts):,} classes in {rows:,} training rows, so most "
            f"rows have a class of their own: it is {kind}, not a class",
            cure=f"{use_number} a column of categories with --target; a class needs many rows",
        )
    if are_numbers:
        return sorted(counts, key=lambda label: (Decimal(label), label))
    return sorted(counts)
