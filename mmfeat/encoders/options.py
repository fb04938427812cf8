"""The options of an encoder, as they stand behind the `?` of its name."""

import importlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import ModuleType

from mmfeat.errors import MmfeatError


class Options:
    """Reads options one by one; `done` refuses what was not asked for.

    Args:
        encoder: its name, for the messages.
        values: option → value, as text.
    """

    def __init__(self, encoder: str, values: Mapping[str, str]) -> None:
        self._encoder = encoder
        self._left = dict(values)
        self._known: list[str] = []

    def text(self, name: str, default: str, choices: Sequence[str] = ()) -> str:
        """An option's value, one of the choices where there are any."""
        self._known.append(name)
        value = self._left.pop(name, default)
        if choices and value not in choices:
            raise MmfeatError(
                f"{self._encoder}: {name} must be one of {', '.join(choices)}", got=value
            )
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """An option's value as an integer within bounds."""
        text = self.text(name, str(default))
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise MmfeatError(
                f"{self._encoder}: {name} must be a number from {low} to {high}", got=text
            )
        return int(text)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An option's value as yes or no."""
        return self.text(name, "1" if default else "0", ("0", "1")) == "1"

    def done(self) -> None:
        """Refuse options that the encoder does not have."""
        for name in self._left:
            close = get_close_matches(name, self._known, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            known = ", ".join(self._known) or "none"
            raise MmfeatError(
                f"{self._encoder} has no such option", got=name, cure=f"{hint}There are: {known}"
            )


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MmfeatError: it is not installed; says how to.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MmfeatError(
            f"this encoder needs the package {package}: {error}",
            cure=f"Install it with: pip install 'mmfeat[{extra}]'",
        ) from error
