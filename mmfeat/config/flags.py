"""From a stage's dataclass to its command line: the dataclass is the only source of its flags.

Every command takes its options from four places, each winning over those before it: the defaults,
a YAML file, --set, and flags.
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, cast, get_type_hints

import tyro

from mmfeat.config.yaml_file import Place, read_file, read_overrides, to_yaml

Config = TypeVar("Config")


def argument(name: str) -> Any:
    """Marks a dataclass field as the positional argument shown as NAME in the help."""
    return tyro.conf.arg(metavar=name)


RepeatedFlag = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
"""A flag that may be given again and again."""

InputPath = Annotated[str, tyro.conf.Positional, argument("INPUT")]
ShardsPath = Annotated[str, tyro.conf.Positional, argument("SHARDS")]
OutputPath = Annotated[str, tyro.conf.Positional, argument("OUTPUT")]
FeaturesPath = Annotated[str, tyro.conf.Positional, argument("FEATURES")]
ModelPath = Annotated[str, tyro.conf.Positional, argument("MODEL")]


@dataclass(frozen=True)
class ConfigFlags:
    """Options may stand in a file as well. A flag wins over --set, --set over the file, the file
    over the default."""

    config: Annotated[str, argument("FILE.yaml")] = ""
    """YAML file of options, `name: value` a line, at any path or URL. Names are those of the flags
    (split_column or split-column) and of the arguments without one (output); what the file gives
    need not be given here."""
    set: Annotated[RepeatedFlag, argument("NAME=VALUE")] = ()
    """Set one option by its name, with dots where the file has levels; VALUE is read as YAML.
    May be given again and again."""
    print_config: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print all options as they would be used, as a file for --config, and do nothing else."""


def parse(config: type[Config], arguments: Sequence[str], *, prog: str) -> Config:
    """Parse a command line into a stage's dataclass; prints help and exits like argparse.

    Raises:
        MmfeatError: a mistake in the file of --config, in --set, or one the dataclass refuses.
        SystemExit: a mistake in a flag, --help, or --print-config.
    """
    return _CommandLine(config, list(arguments), prog, known_only=False).parse()[0]


def parse_known(
    config: type[Config], arguments: Sequence[str], *, prog: str
) -> tuple[Config, list[str]]:
    """Like `parse`, and hands back the flags the dataclass does not know."""
    return _CommandLine(config, list(arguments), prog, known_only=True).parse()


def comma_list(text: str) -> list[str]:
    """`image, text` → ["image", "text"]; empty text → []."""
    return [word.strip() for word in text.split(",") if word.strip()]


@dataclass(frozen=True)
class _CommandLine(Generic[Config]):
    """What is to be parsed, and into what."""

    config: type[Config]
    arguments: list[str]
    prog: str
    known_only: bool
    """Whether flags the dataclass does not know are handed back."""

    def parse(self) -> tuple[Config, list[str]]:
        """The options, and the flags that are not known."""
        flags = self._configuration_flags()
        given = read_file(flags.config, self.config) if flags.config else {}
        given |= read_overrides(flags.set, self.config)
        # What a flag sets is left out: a repeated flag would append to the file's.
        given = {place: given[place] for place in given if not self._has_flag(place[-1])}
        options, unknown = self._parse_over(given)
        if flags.print_config:
            print(to_yaml(options), end="")
            raise SystemExit(0)
        return options, unknown

    def _configuration_flags(self) -> ConfigFlags:
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

    def _parse_over(self, given: Mapping[Place, Any]) -> tuple[Config, list[str]]:
        """Parse with the given values in the place of defaults.

        Where fewer positional arguments come than there are, they are those that the file lacks.
        """
        positional = _positionals(self.config)
        fixed = [name for name in positional if (name,) in given]
        if 0 < len(fixed) < len(positional) and not {"-h", "--help"} & set(self.arguments):
            for attempt in ([], fixed):
                with contextlib.suppress(SystemExit):
                    return self._attempt(given, attempt, quiet=True)
        return self._attempt(given)

    def _attempt(
        self, given: Mapping[Place, Any], fixed: Sequence[str] = (), *, quiet: bool = False
    ) -> tuple[Config, list[str]]:
        shape: Any = _with_config_flags(self.config, fixed)
        parsed: Any = tyro.cli(  # type: ignore[call-overload]
            shape,
            args=self.arguments,
            prog=self.prog,
            default=_unchecked(shape, given),
            return_unknown_args=self.known_only,
            console_outputs=not quiet,
        )
        parsed, unknown = parsed if self.known_only else (parsed, [])
        names = [field.name for field in dataclasses.fields(cast(Any, self.config)) if field.init]
        return self.config(**{name: getattr(parsed, name) for name in names}), unknown


def _positionals(config: type) -> list[str]:
    hints = get_type_hints(config, include_extras=True)
    return [n for n in hints if tyro.conf.Positional in getattr(hints[n], "__metadata__", ())]


def _with_config_flags(config: Any, fixed: Sequence[str]) -> type:
    """The dataclass with the flags of `ConfigFlags` and without its checks, which shall see the
    final values alone; the fixed fields are not on the command line."""
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


def _unchecked(
    config: type, given: Mapping[Place, Any], above: Place = (), base: object = None
) -> Any:
    """An instance with the given values, else those of the base or the defaults, else
    `tyro.MISSING`; no check runs."""
    instance: Any = object.__new__(config)
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        place = (*above, field.name)
        value = given[place] if place in given else getattr(base, field.name, _default(field))
        if place not in given and any(known[: len(place)] == place for known in given):
            value = _unchecked(hints[field.name], given, place, value)
        object.__setattr__(instance, field.name, value)
    return instance


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING
