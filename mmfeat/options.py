"""From a stage's dataclass to its command line: the dataclass is the only source of its flags."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

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


def parse(config: type[Config], arguments: Sequence[str], *, prog: str) -> Config:
    """Parse a command line into a stage's dataclass; prints help and exits like argparse."""
    return tyro.cli(config, args=list(arguments), prog=prog)


def parse_known(
    config: type[Config], arguments: Sequence[str], *, prog: str
) -> tuple[Config, list[str]]:
    """Like `parse`, and hands back the flags the dataclass does not know."""
    return tyro.cli(config, args=list(arguments), prog=prog, return_unknown_args=True)


def comma_list(text: str) -> list[str]:
    """`image, text` → ["image", "text"]; empty text → []."""
    return [word.strip() for word in text.split(",") if word.strip()]
