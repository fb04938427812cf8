"""Convert Arrow values to Python, also those that Python cannot hold.

Text that is not UTF-8 keeps its bytes as lone surrogates (`surrogateescape`). Dates, times and
durations out of the range of Python, and those with nanoseconds, are spelt out. Arrow would give
other values for nanoseconds if pandas is installed; here it makes no difference.
"""

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

_DIGITS_END = len("2024-02-29T12:00:00.000000")

_UNHOLDABLE = (ValueError, OverflowError, KeyError, pa.ArrowException)
"""Errors of `as_py` for a value of Arrow that has no equal in Python."""


def rows_to_python(batch: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a batch or table as column → value."""
    columns = [array_to_python(batch.column(place)) for place in range(batch.num_columns)]
    names = batch.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def array_to_python(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of an array."""
    try:
        if _is_nanoseconds(array.type):
            array = array.cast(_in_microseconds(array.type))
        elif _has_nanoseconds(array.type):
            return [to_python(scalar) for scalar in array]
        values: list[Any] = array.to_pylist()
    except _UNHOLDABLE:
        return [to_python(scalar) for scalar in array]
    return values


def to_python(scalar: pa.Scalar) -> Any:
    """Return the value of a scalar."""
    if not scalar.is_valid:
        return None
    try:
        if _is_nanoseconds(scalar.type):
            return scalar.cast(_in_microseconds(scalar.type)).as_py()
        return _spell_out(scalar) if _has_nanoseconds(scalar.type) else scalar.as_py()
    except _UNHOLDABLE:
        return _spell_out(scalar)


def _is_nanoseconds(kind: pa.DataType) -> bool:
    return pt.is_temporal(kind) and getattr(kind, "unit", "") == "ns"


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    if pt.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.duration("us") if pt.is_duration(kind) else pa.time64("us")


def _has_nanoseconds(kind: pa.DataType) -> bool:
    """Return whether values of a type are or contain nanoseconds."""
    if isinstance(kind, pa.BaseExtensionType):
        return _has_nanoseconds(kind.storage_type)
    if pt.is_dictionary(kind):
        return _has_nanoseconds(kind.value_type)
    parts = (kind.field(place).type for place in range(kind.num_fields))
    return _is_nanoseconds(kind) or any(map(_has_nanoseconds, parts))


def _spell_out(scalar: pa.Scalar) -> Any:
    kind = scalar.type
    if isinstance(scalar, pa.DictionaryScalar | pa.ExtensionScalar):
        return to_python(scalar.value)
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return scalar.as_buffer().to_pybytes().decode(errors="surrogateescape")
    if isinstance(scalar, pa.StructScalar):
        return {kind.field(i).name: to_python(scalar[i]) for i in range(kind.num_fields)}
    if isinstance(scalar, pa.MapScalar):
        return [tuple(to_python(item[i]) for i in range(2)) for item in scalar.values]
    if isinstance(scalar, pa.ListScalar):
        return array_to_python(scalar.values)
    if pt.is_duration(kind):
        return _duration_text(scalar.value, _UNITS_PER_SECOND[kind.unit])
    if pt.is_timestamp(kind) and kind.tz:
        if kind.unit == "ns" and isinstance(time := _whole_microseconds(scalar), datetime):
            text = time.isoformat(timespec="microseconds")
            return f"{text[:_DIGITS_END]}{scalar.value % 1000:03}{text[_DIGITS_END:]}"
        # Without its zone, since the name of the zone may be unknown.
        return f"{_spell_out(scalar.cast(pa.timestamp(kind.unit)))}+00:00"
    text = str(scalar.cast(pa.string()).as_py())
    return text.replace(" ", "T", 1) if pt.is_timestamp(kind) and text[0] != "<" else text


def _whole_microseconds(time: pa.Scalar) -> Any:
    """Return the time without its last three digits; its own text if Python cannot hold it."""
    kind = pa.timestamp("us", time.type.tz)
    return to_python(pa.scalar(time.value // 1000, pa.int64()).cast(kind))


def _duration_text(number: int, units_per_second: int) -> str:
    """Spell a duration as Python spells a `timedelta`, of any length and with nanoseconds."""
    seconds, fraction = divmod(number, units_per_second)
    days, seconds = divmod(seconds, 24 * 60 * 60)
    text = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if fraction:
        nanoseconds = f"{fraction * 10**9 // units_per_second:09}"
        text += f".{nanoseconds.removesuffix('000')}"
    return f"{days} day{'s' * (abs(days) != 1)}, {text}" if days else text
