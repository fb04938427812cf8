"""Build a command line from a config dataclass. The dataclass defines all flags.

Every command takes its options from four places. Each overrides the ones before it: the defaults,
a YAML file, --set, and flags.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, cast, get_type_hints

import tyro
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from mmfeat.config.flag_errors import raise_usage_errors
from mmfeat.config.separate_paths import check_separate
from mmfeat.config.yaml_file import FieldPath, read_overrides, read_yaml_file, to_yaml
from mmfeat.errors import UsageError, check_names
from mmfeat.system import console

Config = TypeVar("Config")

_parse: Any = retry(
    retry=retry_if_exception_type(SystemError), stop=stop_after_attempt(3), reraise=True
)(tyro.cli)
"""tyro parses the source of the dataclass. In Python 3.11, that may fail if other code parses some
at the same time, for example to format a traceback (github.com/python/cpython/issues/106905)."""


def metavar(name: str) -> Any:
    """Show the value of a flag or of a positional argument as NAME in the help."""
    return tyro.conf.arg(metavar=name)


RepeatedFlag = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
"""A flag that may be repeated."""

InputPath = Annotated[str, tyro.conf.Positional, metavar("INPUT")]
ShardsPath = Annotated[str, tyro.conf.Positional, metavar("SHARDS")]
OutputPath = Annotated[str, tyro.conf.Positional, metavar("OUTPUT")]
FeaturesPath = Annotated[str, tyro.conf.Positional, metavar("FEATURES")]
ModelPath = Annotated[str, tyro.conf.Positional, metavar("MODEL")]


@dataclass(frozen=True)
class ConfigFlags:
    """Options may come from a file. A flag overrides --set, --set overrides the file, and the file
    overrides the default."""

    config: Annotated[str, metavar("FILE.yaml")] = ""
    """YAML file of options at a path or URL, one `name: value` per line. Names are those of flags
    (split_column or split-column) and of positional arguments (output). Options in the file need
    not be given on the command line."""
    set: Annotated[RepeatedFlag, metavar("NAME=VALUE")] = ()
    """Set one option by its name, with dots for the levels of the file. VALUE is read as YAML.
    May be repeated."""
    print_config: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print all options as a file for --config and exit."""


def parse_args(config: type[Config], arguments: Sequence[str], *, prog: str) -> Config:
    """Parse command-line arguments into a config dataclass.

    Args:
        config: the dataclass.
        arguments: arguments after the name of the command.
        prog: the command in the usage line, such as `mmfeat train`.

    Raises:
        UsageError: an argument is missing, unknown or of another type.
        MmfeatError: the --config file or --set has an error, or the dataclass rejects a value.
        SystemExit: --help or --print-config was given.
    """
    return _CommandLine(config, list(arguments), prog, known_only=False).parse()[0]


def parse_known_args(
    config: type[Config], arguments: Sequence[str], *, prog: str
) -> tuple[Config, list[str]]:
    """Parse like `parse_args`, and also return the arguments that the dataclass does not know."""
    return _CommandLine(config, list(arguments), prog, known_only=True).parse()


def flag_names(config: type) -> list[str]:
    """Return the flags of a config dataclass, as on its command line."""
    return [*_field_flags(config), *_field_flags(ConfigFlags)]


def _field_flags(config: type) -> list[str]:
    names = []
    types, hints = get_type_hints(config), get_type_hints(config, include_extras=True)
    positional = _positional_fields(config)
    for name in (name for name in hints if name not in positional):
        flag = name.replace("_", "-")
        if dataclasses.is_dataclass(types[name]):
            names += _field_flags(types[name])  # commands leave out its name
        else:
            names += [f"--{flag}", f"--no-{flag}"] if hints[name] is bool else [f"--{flag}"]
    return names


def split_commas(text: str) -> list[str]:
    """Split a comma-separated list: `image, text` → ["image", "text"]; empty text → []."""
    return [word.strip() for word in text.split(",") if word.strip()]


def choose_names(flags: Sequence[str], known: Collection[str], rule: str) -> list[str]:
    """Return the names that a repeated flag gives, each once, in their order.

    A value is one name if there is such a name, else a list of names, separated by commas.

    Args:
        flags: the values of the flag.
        known: the names that exist.
        rule: as in `check_names`.

    Raises:
        MmfeatError: a name is not known.
    """
    names = [n for text in flags for n in ([text] if text in known else split_commas(text))]
    check_names(names, known, rule)
    return [*dict.fromkeys(names)]


@dataclass(frozen=True)
class _CommandLine(Generic[Config]):
    config: type[Config]
    arguments: list[str]
    prog: str
    known_only: bool
    """Whether unknown arguments are returned instead of refused."""

    def parse(self) -> tuple[Config, list[str]]:
        """Return the options and the unknown arguments."""
        flags = self._parse_config_flags()
        given = read_yaml_file(flags.config, self.config) if flags.config else {}
        given |= read_overrides(flags.set, self.config)
        # Options that a flag sets are removed: a repeated flag would append to those of the file.
        given = {path: given[path] for path in given if not self._has_flag(path[-1])}
        options, unknown = self._parse_with_defaults(given)
        if flags.print_config:
            print(to_yaml(options, ascii_only=not console.prints_unicode()), end="")
            raise SystemExit(0)
        check_paths(options)
        return options, unknown

    def _parse_config_flags(self) -> ConfigFlags:
        with raise_usage_errors(flag_names(self.config)):
            return tyro.cli(
                ConfigFlags,
                args=self.arguments,
                prog=self.prog,
                add_help=False,
                return_unknown_args=True,
            )[0]

    def _has_flag(self, name: str) -> bool:
        flags = [word.partition("=")[0] for word in self.arguments if word.startswith("--")]
        return any(flag[2:].replace("-", "_").rpartition(".")[2] == name for flag in flags)

    def _parse_with_defaults(self, given: Mapping[FieldPath, Any]) -> tuple[Config, list[str]]:
        """Parse with the given values as defaults.

        If the command line has too few positional arguments, they fill the ones that are not given.
        """
        positional = _positional_fields(self.config)
        fixed = [name for name in positional if (name,) in given]
        if 0 < len(fixed) < len(positional) and not {"-h", "--help"} & set(self.arguments):
            for attempt in ([], fixed):
                with contextlib.suppress(UsageError):
                    return self._call_tyro(given, attempt)
        return self._call_tyro(given)

    def _call_tyro(
        self, given: Mapping[FieldPath, Any], fixed: Sequence[str] = ()
    ) -> tuple[Config, list[str]]:
        parser_type: Any = _parser_dataclass(cast(Any, self.config), tuple(fixed))
        with raise_usage_errors(flag_names(self.config)):
            parsed: Any = _parse(
                parser_type,
                args=self.arguments,
                prog=self.prog,
                default=_unchecked_instance(parser_type, given),
                return_unknown_args=self.known_only,
            )
        parsed, unknown = parsed if self.known_only else (parsed, [])
        names = [field.name for field in dataclasses.fields(cast(Any, self.config)) if field.init]
        return self.config(**{name: getattr(parsed, name) for name in names}), unknown


def _positional_fields(config: type) -> list[str]:
    hints = get_type_hints(config, include_extras=True)
    return [n for n in hints if tyro.conf.Positional in getattr(hints[n], "__metadata__", ())]


@functools.cache
def _parser_dataclass(config: Any, fixed: tuple[str, ...]) -> type:
    """Return the dataclass that tyro parses: the config with `ConfigFlags` added.

    Its `__post_init__` does nothing, since only final values must be checked. Fixed fields are not
    on the command line.
    """
    extra: list[Any] = [(name, Annotated[Any, tyro.conf.Fixed]) for name in fixed]
    flags = Annotated[ConfigFlags, tyro.conf.OmitArgPrefixes]
    extra.append(("configuration", flags, dataclasses.field(default_factory=ConfigFlags)))
    return dataclasses.make_dataclass(
        config.__name__,
        extra,
        bases=(config,),
        namespace={"__post_init__": lambda self: None, "__doc__": config.__doc__},
        frozen=config.__dataclass_params__.frozen,
    )


def _unchecked_instance(
    config: type, given: Mapping[FieldPath, Any], parents: FieldPath = (), base: object = None
) -> Any:
    """Return an instance of a dataclass without calling its checks.

    Each field has its given value, else that of the base, else its default, else `tyro.MISSING`.
    """
    instance: Any = object.__new__(config)
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        path = (*parents, field.name)
        value = given[path] if path in given else getattr(base, field.name, default_of(field))
        if path not in given and any(known[: len(path)] == path for known in given):
            value = _unchecked_instance(hints[field.name], given, path, value)
        object.__setattr__(instance, field.name, value)
    return instance


def check_paths(options: object) -> None:
    """Check that the output of a command lies apart from its inputs."""
    paths = {name: getattr(options, name) for name in _positional_fields(type(options))}
    output = paths.pop("output", "")
    check_separate(output, {name.upper(): path for name, path in paths.items()})


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a field, or `tyro.MISSING`."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING
