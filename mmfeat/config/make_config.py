"""Make a config dataclass from options given in Python."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast, get_type_hints

import tyro

from mmfeat.config.flags import check_paths, default_of
from mmfeat.config.yaml_file import FieldPath, field_hints, read_options
from mmfeat.errors import MmfeatError

Config = TypeVar("Config")


def make_config(config: type[Config], options: Mapping[str, Any], *, source: str) -> Config:
    """Make a config dataclass from options by their names, as in a YAML file.

    Args:
        config: the dataclass.
        options: name of an option → value. A path may be a `pathlib.Path` or a store, a mapping
            stands for the values KEY=VALUE of a repeated flag, and a list for a text with commas.
        source: where the options come from, for errors.

    Raises:
        MmfeatError: an option is missing, unknown or of another type, or the dataclass rejects a
            value.
    """
    texts = {path[-1] for path, hint in field_hints(config, ()) if hint is str}
    values = {name: _to_yaml_value(value) for name, value in options.items()}
    joined = {
        name: ",".join(map(str, value)) if name in texts and isinstance(value, list) else value
        for name, value in values.items()
    }
    given = read_options(joined, config, source)
    made = _checked_instance(config, given, source)
    check_paths(made)
    return made


def _checked_instance(
    config: type[Config], given: Mapping[FieldPath, Any], source: str, parents: FieldPath = ()
) -> Config:
    """Return an instance of a dataclass with the given values, and check it."""
    values: dict[str, Any] = {}
    hints = get_type_hints(config)
    for field in dataclasses.fields(cast(Any, config)):
        path = (*parents, field.name)
        if path in given:
            values[field.name] = given[path]
        elif any(known[: len(path)] == path for known in given):
            values[field.name] = _checked_instance(hints[field.name], given, source, path)
        elif default_of(field) is tyro.MISSING:
            raise MmfeatError(f"{source} needs the option {field.name}", cure="Give it by its name")
    return config(**values)


def _to_yaml_value(value: Any) -> Any:
    """Return what a YAML file would have for a value in Python."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return [f"{name}={_to_yaml_value(item)}" for name, item in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_to_yaml_value(item) for item in value]
    return value
