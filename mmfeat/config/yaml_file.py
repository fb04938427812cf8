"""Read options from YAML: a file, and NAME=VALUE overrides, checked against a config dataclass."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any, NoReturn, TypeAlias, get_type_hints

import yaml

from mmfeat.config.yaml_values import TypeHint, convert_value, describe_type
from mmfeat.errors import MmfeatError
from mmfeat.system import filesystem

FieldPath: TypeAlias = tuple[str, ...]
"""The name of a field after the names of the dataclasses that contain it."""


def read_yaml_file(path: str, config: type) -> dict[FieldPath, Any]:
    """Read the fields of a dataclass from a YAML file.

    Raises:
        MmfeatError: the file cannot be read, is not a YAML mapping, or has an unknown name or a
            value of a wrong type.
    """
    return _MappingReader(config, path).read(_parse_yaml(path, _read_bytes(path)))


def _read_bytes(path: str) -> bytes:
    try:
        fs, name = filesystem(path)
        content: bytes = fs.cat_file(name)
    except FileNotFoundError as error:
        raise MmfeatError(f"no such file: {path}", cure="Check the path of --config") from error
    except OSError as error:
        raise MmfeatError(f"cannot read {path}: {error}") from error
    return content


def read_overrides(overrides: Sequence[str], config: type) -> dict[FieldPath, Any]:
    """Read the fields of a dataclass from overrides like `recipe.lr=3e-4`. The last one wins.

    Raises:
        MmfeatError: an override has no `=`, an unknown name or a value of a wrong type.
    """
    values: dict[FieldPath, Any] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name:
            raise MmfeatError("--set must be of the form NAME=VALUE", got=override)
        content = _parse_yaml(f"--set {name}", text)
        for part in reversed(name.split(".")):
            content = {part: content}
        values.update(_MappingReader(config, "--set", text).read(content))
    return values


def read_options(options: Mapping[str, Any], config: type, source: str) -> dict[FieldPath, Any]:
    """Read the fields of a dataclass from options by their names.

    Raises:
        MmfeatError: an unknown name, or a value of a wrong type.
    """
    return _MappingReader(config, source).read(options)


def _parse_yaml(source: str, text: str | bytes) -> Any:
    try:
        return yaml.safe_load(text)
    except (
        yaml.YAMLError, ValueError, RecursionError,
        AttributeError, LookupError, TypeError,  # of tags such as `!!timestamp x`
    ) as error:  # fmt: skip
        # The message of the parser has several lines with an excerpt of the file.
        problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
        reason = str(problem or error or type(error).__name__).replace("\n", " ")
        line = f" in line {mark.line + 1}" if mark else ""
        raise MmfeatError(f"{source} is not YAML: {reason}{line}") from error


class _MappingReader:
    """Reads the fields of a dataclass from a mapping.

    Args:
        config: the dataclass.
        source: where the mapping comes from, for errors.
        text: the value as typed, if the mapping is one override.
    """

    def __init__(self, config: type, source: str, text: str | None = None) -> None:
        self.config, self.source, self.text = config, source, text
        self.hints = dict(field_hints(config, ()))
        self.values: dict[FieldPath, Any] = {}

    def read(self, content: Any) -> dict[FieldPath, Any]:
        """Return the values of the mapping, converted to the types of their fields."""
        self._read_level(content, ())
        return self.values

    def _read_level(self, content: Any, parents: FieldPath) -> None:
        if content is None:  # an empty file, or a section whose lines are all comments
            return
        if not isinstance(content, Mapping):
            section = ".".join(parents) or "the file"
            raise MmfeatError(
                f"{self.source}: {section} must be a mapping",
                got=content,
                cure="Write one `name: value` per line",
            )
        for key, value in content.items():
            path = self._find_field(key, parents)
            if path not in self.hints:
                self._read_level(value, path)
                continue
            if path in self.values:
                raise MmfeatError(f"{self.source}: {'.'.join(path)} is given twice", got=value)
            self.values[path] = self._convert(value, path)

    def _find_field(self, key: Any, parents: FieldPath) -> FieldPath:
        """Return the field or section of a key. At the top level, a field's name alone will do."""
        path = (*parents, str(key).replace("-", "_"))
        if any(known[: len(path)] == path for known in self.hints):
            return path
        inside = [known for known in self.hints if known[: len(parents)] == parents]
        namesakes = [known for known in inside if known[-1] == path[-1]]
        if parents or not namesakes:
            self._refuse_name(".".join((*parents, str(key))), inside, len(parents))
        if len(namesakes) > 1:
            full = " or ".join(".".join(known) for known in namesakes)
            raise MmfeatError(
                f"{self.source}: several options have this name", got=key, cure=f"Write {full}"
            )
        return namesakes[0]

    def _refuse_name(self, name: str, inside: list[FieldPath], depth: int) -> NoReturn:
        known = {path[depth] for path in inside} | {path[-1] for path in inside}
        key = name.rpartition(".")[2].replace("-", "_")
        close = difflib.get_close_matches(key, known)
        names = f"Did you mean {' or '.join(close)}?" if close else (
            f"Options: {', '.join(sorted(known))}"
        )  # fmt: skip
        raise MmfeatError(f"{self.source}: no option of this name", got=name, cure=names)

    def _convert(self, value: Any, path: FieldPath) -> Any:
        hint = self.hints[path]
        # For a text field, an override like `2024` counts as typed, not as the number of YAML.
        as_typed = self.text is not None and not isinstance(value, Mapping)
        as_typed &= value is not None or not self.text  # null is not a text
        for candidate in (value, self.text) if as_typed else (value,):
            try:
                return convert_value(candidate, hint)
            except TypeError:
                continue
        expected = describe_type(hint)
        quotes = "text" in expected and isinstance(value, bool | int | float | date)
        raise MmfeatError(
            f"{self.source}: {'.'.join(path)} must be {expected}",
            got=value,
            cure="Put it in quotes" if quotes else "",
        )


def field_hints(config: type, parents: FieldPath) -> Iterator[tuple[FieldPath, TypeHint]]:
    """Yield every field that holds a value, with its type, also those of nested dataclasses."""
    hints = get_type_hints(config)
    for field in fields(config):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from field_hints(hint, (*parents, field.name))
        else:
            yield (*parents, field.name), hint


def to_yaml(config: Any, *, ascii_only: bool = False) -> str:
    """Write all fields of a dataclass as YAML that `read_yaml_file` reads to the same values.

    Args:
        config: the dataclass.
        ascii_only: whether to escape all other characters.
    """
    values = _to_plain(config)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=not ascii_only)
    # PyYAML does not read back some Unicode line separators that it writes unescaped.
    return text if yaml.safe_load(text) == values else yaml.safe_dump(values, sort_keys=False)


def _to_plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_plain(item) for item in value]
    return value
