"""The two kinds of errors: a mistake that the user can fix, and an unusable record."""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial
from typing import Any


class MmfeatError(Exception):
    """A mistake that the user can fix. The command line prints it as one line and exits with 1.

    Args:
        rule: what must hold, with the path or key that it is about.
        got: the value received, if there is one.
        cure: what to do.
    """

    def __init__(self, rule: str, *, got: object = None, cure: str = "") -> None:
        self.rule, self.got, self.cure = rule, got, cure
        super().__init__(rule)

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickle, which passes errors between processes."""
        return partial(type(self), got=self.got, cure=self.cure), (self.rule,)

    def __str__(self) -> str:
        text = self.rule
        if self.got is not None:
            text += f"; got {self.got!r}"
        if self.cure:
            text += f". {self.cure}"
        return text


class UsageError(MmfeatError):
    """The arguments of a command cannot be parsed. The command line exits with 2."""


def suggest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known name that is most similar to a mistyped one; empty text if none is.

    Args:
        name: the name as typed.
        known: the names that exist.
        cutoff: least similarity, 0 to 1 (see `difflib.get_close_matches`).
    """
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'NAME'?` with the most similar known name; empty text if none is."""
    close = suggest(name, known)
    return f"Did you mean {close!r}?" if close else ""


def check_choice(option: str, value: str, choices: Iterable[str], *, cure: str = "") -> None:
    """Check that the value of an option is one of its choices.

    Args:
        option: the option.
        value: its value.
        choices: what it may be.
        cure: what to do if it is not; by default a similar choice is suggested.

    Raises:
        MmfeatError: it is not; the error lists the choices and suggests a similar one.
    """
    names = sorted(choices)
    if value not in names:
        listed = ", ".join(name or "empty" for name in names)
        cure = cure or did_you_mean(value, names) or f"Choose one of them for {option}"
        raise MmfeatError(f"{option} must be one of: {listed}", got=value, cure=cure)


def check_names(names: Iterable[str], known: Iterable[str], rule: str) -> None:
    """Check that names, for example of columns, are known.

    Args:
        names: the names.
        known: the known ones.
        rule: what is wrong if one is not, for example `STORE has no column of that name`.

    Raises:
        MmfeatError: one is not; the error lists the known names and suggests a similar one.
    """
    choices = list(known)
    for name in names:
        if name not in choices:
            cure = f"{did_you_mean(name, choices)} There are: {', '.join(choices) or 'none'}"
            raise MmfeatError(rule, got=name, cure=cure.strip())


class DamagedFileError(MmfeatError):
    """A file that mmfeat wrote is damaged: its content breaks the format, or its bytes changed."""


class RecordError(Exception):
    """One part of one record cannot be used. It becomes the reason in a row; the shard continues.

    Args:
        reason: a word of the vocabulary `mmfeat.records.record.REASONS`.
        detail: what was found, for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
