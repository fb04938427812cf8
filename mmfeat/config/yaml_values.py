"""Convert YAML values to the types of dataclass fields."""

import types
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import yaml

TypeHint: TypeAlias = Any  # a class or a typing construct: str, int | None, Literal["a"], …

_TYPE_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def convert_value(value: Any, hint: TypeHint) -> Any:
    """Convert a YAML value to a type.

    YAML 1.1 reads `3e-4` as text, and `no` and `off` as false. Number fields accept such text, and
    `Literal` fields accept such booleans.

    Raises:
        TypeError: the value does not fit the type.
    """
    origin: Any = get_origin(hint)
    inner = get_args(hint)
    if hint is None or hint is types.NoneType:
        return _require(value is None, value)
    if origin in (Union, types.UnionType):
        return _convert_union(value, inner)
    if origin is Literal:
        return _convert_literal(value, inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        _require(isinstance(value, list) and len(value) == len(inner), value)
        return tuple(convert_value(item, kind) for item, kind in zip(value, inner, strict=True))
    if origin in (tuple, list):
        items = value if isinstance(value, list) else [value]
        return origin(convert_value(item, inner[0]) for item in items)
    if origin is dict:
        _require(isinstance(value, dict), value)
        return {
            convert_value(key, inner[0]): convert_value(item, inner[1])
            for key, item in value.items()
        }
    if hint in (int, float):
        return _convert_number(value, hint)
    return _require(hint is Any or isinstance(value, origin or hint), value)


def _require(condition: bool, value: Any) -> Any:
    if not condition:
        raise TypeError(value)
    return value


def _convert_union(value: Any, hints: Sequence[TypeHint]) -> Any:
    if value is None and types.NoneType in hints:
        return None
    for hint in hints:
        try:
            return convert_value(value, hint)
        except TypeError:
            continue
    raise TypeError(value)


def _convert_literal(value: Any, choices: Sequence[Any]) -> Any:
    """Return the choice that equals the value, or that YAML reads as the value (`no` as false)."""
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    if isinstance(value, bool | int | float):
        for choice in choices:
            parsed = _parse_choice(choice)
            if type(parsed) is type(value) and parsed == value:
                return choice
    raise TypeError(value)


def _parse_choice(choice: Any) -> Any:
    try:
        return yaml.safe_load(choice) if isinstance(choice, str) else choice
    except (yaml.YAMLError, ValueError):
        return choice


def _convert_number(value: Any, kind: type) -> Any:
    _require(isinstance(value, int | float | str) and not isinstance(value, bool), value)
    if kind is int and isinstance(value, int):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise TypeError(value) from error
    if kind is float:
        return number
    _require(number.is_integer(), value)
    return int(number)


def describe_type(hint: TypeHint) -> str:
    """Describe a type for an error message: `a number or null`."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is types.NoneType:
        return "null"
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(kind) for kind in inner)
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in inner)
    if origin in (tuple, list):
        return f"a list, each item {describe_type(inner[0])}"
    if origin is dict:
        return "a mapping"
    return _TYPE_WORDS.get(hint, f"a {getattr(hint, '__name__', hint)}")
