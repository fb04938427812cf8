"""Metadata columns: JSON-ready values in, one Arrow type per column out."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_ARROW_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "json": pa.string(),
}


def to_json_value(value: Any) -> Any:
    """Convert a value for JSON: NaN becomes null, bytes base64, dates ISO 8601."""
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
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def value_kind(value: Any) -> str | None:
    """Return the kind of a JSON-ready value; None for null, which fits every kind."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if -(2**63) <= value < 2**63 else "json"
    if isinstance(value, float):
        return "float64"
    return "string" if isinstance(value, str) else "json"


def common_kind(first: str | None, second: str | None) -> str | None:
    """Return the kind that can hold values of both kinds."""
    if first == second or second is None:
        return first
    if first is None:
        return second
    return "float64" if {first, second} == {"int64", "float64"} else "json"


def arrow_array(values: Sequence[Any], kind: str) -> pa.Array:
    """Convert JSON-ready values to an Arrow array; kind `json` stores each as JSON text."""
    if kind == "json":
        texts = [None if v is None else json.dumps(v, ensure_ascii=False) for v in values]
        return pa.array(texts, pa.string())
    if kind == "float64":  # Arrow rejects integers that float64 cannot represent exactly
        values = [None if v is None else float(v) for v in values]
    return pa.array(values, _ARROW_TYPES[kind])
