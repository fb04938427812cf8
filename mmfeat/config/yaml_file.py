"""Options from YAML: a file, and NAME=VALUE overrides, checked against a stage's dataclass."""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any, Literal, NoReturn, TypeAlias, Union, get_args, get_origin, get_type_hints

import yaml

from mmfeat.errors import MmfeatError
from mmfeat.store.files import open_input

Place: TypeAlias = tuple[str, ...]
"""Where a field stands: its name below the names of the dataclasses around it."""

_Hint: TypeAlias = Any  # a class, or what `typing` makes: str, int | None, Literal["a"], …


def places(config: type) -> dict[Place, Any]:
    """Every field that holds a value, with its type; nested dataclasses are gone into."""
    return dict(_walk(config, ()))


def _walk(config: type, above: Place) -> Iterator[tuple[Place, _Hint]]:
    hints = get_type_hints(config)
    for field in fields(config):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _walk(hint, (*above, field.name))
        else:
            yield (*above, field.name), hint


def read_file(path: str, config: type) -> dict[Place, Any]:
    """What a YAML file says of the fields of a dataclass.

    Raises:
        MmfeatError: no such file, no YAML, no mapping, an unknown name or a value of a wrong type.
    """
    try:
        with open_input(path) as file:
            content = yaml.safe_load(file)
    except FileNotFoundError as error:
        raise MmfeatError(f"no such file: {path}", cure="Check the path of --config") from error
    except OSError as error:
        raise MmfeatError(f"cannot read {path}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MmfeatError(f"{path} is not YAML: {_one_line(error)}") from error
    return _Reader(config, path).read(content)


def read_overrides(overrides: Sequence[str], config: type) -> dict[Place, Any]:
    """What overrides like `recipe.lr=3e-4` say; the last about a field counts.

    Raises:
        MmfeatError: as `read_file`, or an override without an =.
    """
    values: dict[Place, Any] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name:
            raise MmfeatError("--set must be of the form NAME=VALUE", got=override)
        try:
            content: Any = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise MmfeatError(f"--set {name}: not YAML: {_one_line(error)}", got=text) from error
        for part in reversed(name.split(".")):
            content = {part: content}
        values.update(_Reader(config, "--set", text).read(content))
    return values


def _one_line(error: BaseException) -> str:
    """An error of the parser without its drawing of the place."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    text = str(problem or error or type(error).__name__).replace("\n", " ")
    return f"{text} in line {mark.line + 1}" if mark else text


class _Reader:
    """Lays a mapping over the fields of a dataclass.

    Args:
        config: the dataclass.
        source: what errors name as the place of the mistake.
        text: the value as it was typed, where the mapping is one override.
    """

    def __init__(self, config: type, source: str, text: str | None = None) -> None:
        self.config, self.source, self.text = config, source, text
        self.hints = places(config)
        self.values: dict[Place, Any] = {}

    def read(self, content: Any) -> dict[Place, Any]:
        """The values of the mapping, each of its field's type."""
        self._take(content, ())
        return self.values

    def _take(self, content: Any, above: Place) -> None:
        if content is None:  # an empty file, or a heading with all below it commented out
            return
        if not isinstance(content, Mapping):
            what = ".".join(above) or "the file"
            cure = "Write one `name: value` a line"
            raise MmfeatError(f"{self.source}: {what} must be a mapping", got=content, cure=cure)
        for key, value in content.items():
            place = self._find(key, above)
            if place not in self.hints:
                self._take(value, place)
                continue
            if place in self.values:
                raise MmfeatError(f"{self.source}: {'.'.join(place)} is given twice", got=value)
            self.values[place] = self._convert(value, place)

    def _find(self, key: Any, above: Place) -> Place:
        """The place a key means: below `above`, or, at the top, the only field of that name."""
        place = (*above, str(key).replace("-", "_"))
        if any(known[: len(place)] == place for known in self.hints):
            return place
        inside = [known for known in self.hints if known[: len(above)] == above]
        namesakes = [known for known in inside if known[-1] == place[-1]]
        if above or not namesakes:
            self._refuse_name(".".join((*above, str(key))), inside, len(above))
        if len(namesakes) > 1:
            full = " or ".join(".".join(known) for known in namesakes)
            raise MmfeatError(
                f"{self.source}: several options have that name", got=key, cure=f"Write {full}"
            )
        return namesakes[0]

    def _refuse_name(self, name: str, inside: list[Place], depth: int) -> NoReturn:
        """Raise the error for a name that no field has, with the names that come near."""
        known = {place[depth] for place in inside} | {place[-1] for place in inside}
        key = name.rpartition(".")[2].replace("-", "_")
        near = difflib.get_close_matches(key, known)
        cure = f"Did you mean {' or '.join(near)}?" if near else f"There are: {_listed(known)}"
        raise MmfeatError(f"{self.source}: no option of that name", got=name, cure=cure)

    def _convert(self, value: Any, place: Place) -> Any:
        hint = self.hints[place]
        # An override of a text is taken as typed where YAML would see a number or the like in it.
        as_typed = self.text is not None and not isinstance(value, Mapping)
        as_typed &= value is not None or not self.text  # null is no text
        for candidate in (value, self.text) if as_typed else (value,):
            try:
                return convert(candidate, hint)
            except TypeError:
                continue
        wanted = describe(hint)
        quotes = "text" in wanted and isinstance(value, bool | int | float | date)
        raise MmfeatError(
            f"{self.source}: {'.'.join(place)} must be {wanted}",
            got=value,
            cure="Put it in quotes" if quotes else "",
        )


def convert(value: Any, hint: Any) -> Any:
    """A YAML value as a value of a field's type; raises TypeError where it is none.

    YAML 1.1 reads `3e-4` as text, and `no` and `off` as false: a number field takes the one, and
    a field of fixed words the other, where they fit.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is None or hint is types.NoneType:
        return _only(value is None, value)
    if origin in (Union, types.UnionType):
        return _first_that_fits(value, inner)
    if origin is Literal:
        return _choice(value, inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        _only(isinstance(value, list) and len(value) == len(inner), value)
        return tuple(convert(item, kind) for item, kind in zip(value, inner, strict=True))
    if origin in (tuple, list):
        items = value if isinstance(value, list) else [value]
        return origin(convert(item, inner[0]) for item in items)
    if origin is dict:
        _only(isinstance(value, dict), value)
        return {convert(key, inner[0]): convert(item, inner[1]) for key, item in value.items()}
    if hint in (int, float):
        return _number(value, hint)
    return _only(hint is Any or isinstance(value, origin or hint), value)


def _only(condition: bool, value: Any) -> Any:
    if not condition:
        raise TypeError(value)
    return value


def _first_that_fits(value: Any, hints: Sequence[_Hint]) -> Any:
    if value is None and types.NoneType in hints:
        return None
    for hint in hints:
        try:
            return convert(value, hint)
        except TypeError:
            continue
    raise TypeError(value)


def _choice(value: Any, choices: Sequence[Any]) -> Any:
    """The choice that the value is, or that YAML makes the value of, as false of `no`."""
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    if isinstance(value, bool | int | float):
        for choice in choices:
            read = _as_yaml(choice)
            if type(read) is type(value) and read == value:
                return choice
    raise TypeError(value)


def _as_yaml(choice: Any) -> Any:
    try:
        return yaml.safe_load(choice) if isinstance(choice, str) else choice
    except (yaml.YAMLError, ValueError):
        return choice


def _number(value: Any, kind: type) -> Any:
    _only(isinstance(value, int | float | str) and not isinstance(value, bool), value)
    if kind is int and isinstance(value, int):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise TypeError(value) from error
    if kind is float:
        return number
    _only(number.is_integer(), value)
    return int(number)


def describe(hint: Any) -> str:
    """A field's type in the words of an error."""
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    origin, inner = get_origin(hint), get_args(hint)
    if hint is types.NoneType:
        return "null"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(kind) for kind in inner)
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in inner)
    if origin in (tuple, list):
        return f"a list, each of it {describe(inner[0])}"
    if origin is dict:
        return "a mapping"
    return words.get(hint, f"a {getattr(hint, '__name__', hint)}")


def to_yaml(config: Any) -> str:
    """All fields of a dataclass as YAML that `read_file` reads to the same values."""
    values = _plain(config)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    # PyYAML writes a few line separators of Unicode so that it does not read them back.
    return text if yaml.safe_load(text) == values else yaml.safe_dump(values, sort_keys=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
