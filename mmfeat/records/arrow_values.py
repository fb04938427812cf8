"""Convert Arrow values to Python, also those that Python cannot hold.

Text that is not UTF-8 keeps its bytes as lone surrogates (`surrogateescape`). Dates and times out
of the range of Python are spelt out.
"""

from typing import Any

import pyarrow as pa
import pyarrow.types as pt

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
        values: list[Any] = array.to_pylist()
    except _UNHOLDABLE:
        return [to_python(scalar) for scalar in array]
    return values


def to_python(scalar: pa.Scalar) -> Any:
    """Return the value of a scalar."""
    try:
        return scalar.as_py()
    except _UNHOLDABLE:
        return _spell_out(scalar)


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
    if pt.is_timestamp(kind) and kind.tz:
        # Without its zone, since the name of the zone may be unknown.
        return f"{_spell_out(scalar.cast(pa.timestamp(kind.unit)))}+00:00"
    text = str(scalar.cast(pa.string()).as_py())
    return text.replace(" ", "T", 1) if pt.is_timestamp(kind) and text[0] != "<" else text
