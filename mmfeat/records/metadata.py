"""Metadata columns: JSON-ready values in, one Arrow type per column out."""

import base64
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from mmfeat.records.limits import MAX_DEPTH, MAX_METADATA_CHARACTERS, MAX_METADATA_VALUES
from mmfeat.records.text import is_utf8
from mmfeat.records.values import canonical_text, is_missing

_ARROW_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "large_int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "json": pa.string(),
}

_MAX_EXACT = 2**53
"""Larger integers may differ and be equal as float64: `large_int64` and `float64` have no common
type of numbers."""

_MAX_DIGITS = 300
"""Longer decimals stay text."""

_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "string": lambda value: value if isinstance(value, str) else canonical_text(value),
    "float64": float,  # Arrow rejects integers that float64 cannot represent exactly.
    "json": lambda value: json.dumps(value, ensure_ascii=False),
}

_JSON_CELLS = {b"mmfeat.kind": b"json"}
"""Metadata of an Arrow field whose cells are JSON text, not the values themselves."""


def to_json_value(value: Any) -> Any:
    """Convert a value for JSON: NaN becomes null, bytes base64, dates ISO 8601.

    A decimal becomes a number if that is exact, else text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {to_json_value(str(name)): to_json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if is_missing(value):
        return None
    if isinstance(value, Decimal):
        return _decimal_number(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _decimal_number(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        return None
    number = float(value)
    if Decimal(repr(number)) == value:
        return int(number) if number.is_integer() and abs(number) <= _MAX_EXACT else number
    exact_integer = value == value.to_integral_value() and value.adjusted() < _MAX_DIGITS
    return int(value) if exact_integer else str(value)


def clean_metadata(
    values: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """Return JSON-ready metadata, and its problem if a value cannot be kept: that value is null.

    A value cannot be kept if it is not UTF-8, or if it exceeds a limit of `mmfeat.records.limits`.
    """
    metadata: dict[str, Any] = {}
    budget = _Budget()
    refused: dict[tuple[str, str], list[str]] = {}
    for name, value in values.items():
        column = to_json_value(name)
        if problem := budget.spend(value):
            refused.setdefault(problem, []).append(repr(column))
            value = None
        metadata[column] = to_json_value(value)
    if not refused:
        return metadata, {}
    details = [f"{detail}: {', '.join(names)}" for (_, detail), names in refused.items()]
    return metadata, {"json": (next(iter(refused))[0], "; ".join(details))}


class _Budget:
    """The characters and values that the metadata of one record may still have."""

    def __init__(self) -> None:
        self._characters, self._values = MAX_METADATA_CHARACTERS, MAX_METADATA_VALUES

    def spend(self, value: Any) -> tuple[str, str] | None:
        """Count a value. Return the reason and the detail if it cannot be kept."""
        pending = [(value, 0)]
        while pending:
            item, depth = pending.pop()
            if isinstance(item, str | bytes):
                self._characters -= len(item)
                if self._characters < 0:
                    return "too_large", f"more than {MAX_METADATA_CHARACTERS:,} characters"
                if isinstance(item, str) and not is_utf8(item):
                    return "undecodable", "not UTF-8"
            elif isinstance(item, dict | list | tuple):
                self._values -= len(item)
                if self._values < 0:
                    return "too_large", f"more than {MAX_METADATA_VALUES:,} values"
                if depth == MAX_DEPTH:
                    return "too_large", f"more than {MAX_DEPTH} levels of lists and objects"
                items = item.values() if isinstance(item, dict) else item
                pending += [(inner, depth + 1) for inner in items]
        return None


def value_kind(value: Any) -> str | None:
    """Return the kind of a JSON-ready value; None for null, which fits every kind."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) <= _MAX_EXACT:
            return "int64"
        return "large_int64" if -(2**63) <= value < 2**63 else "string"
    if isinstance(value, float):
        return "float64"
    return "string" if isinstance(value, str) else "json"


def common_kind(first: str | None, second: str | None) -> str | None:
    """Return the kind that can hold values of both kinds."""
    if first == second or second is None:
        return first
    if first is None:
        return second
    kinds = {first, second}
    if "json" in kinds:
        return "json"
    if kinds == {"int64", "large_int64"}:
        return "large_int64"
    return "float64" if kinds == {"int64", "float64"} else "string"


def free_columns(names: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Map metadata columns to names that are free in a table.

    A name that is taken gets the prefix `meta_`.
    """
    columns: dict[str, str] = {}
    used = set(taken)
    for name in names:
        column = name
        while column in used:
            column = f"meta_{column}"
        columns[name] = column
        used.add(column)
    return columns


def arrow_array(values: Sequence[Any], kind: str) -> pa.Array:
    """Convert JSON-ready values to an Arrow array.

    Kind `string` stores numbers and booleans by their canonical text, `json` all values as JSON.
    """
    convert = _CONVERSIONS.get(kind)
    if convert:
        values = [None if value is None else convert(value) for value in values]
    return pa.array(values, _ARROW_TYPES[kind])


def arrow_field(name: str, kind: str, type_: pa.DataType) -> pa.Field:
    """Return the field of a metadata column. It says whether the cells are JSON text."""
    return pa.field(name, type_, metadata=_JSON_CELLS if kind == "json" else None)


def read_cells(table: pa.Table, column: str) -> list[Any]:
    """Return the values of a metadata column as they were in the input: JSON text is parsed."""
    values: list[Any] = table[column].to_pylist()
    if has_json_cells(table.schema.field(column)):
        return [None if value is None else json.loads(value) for value in values]
    return values


def has_json_cells(field: pa.Field) -> bool:
    """Return whether the cells of a column are JSON text: its values have different types."""
    return _JSON_CELLS.items() <= (field.metadata or {}).items()
