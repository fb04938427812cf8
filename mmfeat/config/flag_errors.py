"""Errors of the command line as one line, like all other errors."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tyro import _errors as tyro_errors
from tyro._arguments import ArgumentDefinition

from mmfeat.errors import MmfeatError, UsageError, did_you_mean


@contextmanager
def raise_usage_errors(flags: Sequence[str]) -> Iterator[None]:
    """Raise `UsageError` for arguments that tyro refuses. By default tyro prints a box and exits.

    Args:
        flags: the flags of the command, to suggest one for a mistyped flag.
    """

    def refuse(event: tyro_errors.ParseErrorEvent) -> None:
        if error := _explain(event, flags):
            cure = f"{error.cure} See {event.prog} --help".strip()
            raise UsageError(error.rule, got=error.got, cure=cure)

    with tyro_errors.on_parse_error(refuse):
        yield


def _explain(event: tyro_errors.ParseErrorEvent, flags: Sequence[str]) -> MmfeatError | None:
    """Return what is wrong with the arguments; None = an error that our flags cannot cause."""
    match event:
        case tyro_errors.MissingArgs(unrecognized_tokens=[]):
            names = [_name(missing.arg) for missing in event.missing_arguments]
            return MmfeatError(f"{event.prog} needs {' and '.join(names)}")
        case tyro_errors.MissingArgs(unrecognized_tokens=[token, *_]):
            return _unknown_argument(event.prog, token, flags)
        case tyro_errors.UnrecognizedArgs(tokens=[token, *_]):
            return _unknown_argument(event.prog, token, flags)
        case tyro_errors.InvalidChoice():
            choices = ", ".join(choice or "empty" for choice in event.choices)
            rule = f"{_name(event.argument)} must be one of: {choices}"
            cure = did_you_mean(event.value, event.choices)
            return MmfeatError(rule, got=event.value, cure=cure)
        case tyro_errors.BadValue() if event.argument.is_positional():
            return MmfeatError(f"{event.prog} needs {_name(event.argument)}")
        case tyro_errors.BadValue():
            return MmfeatError(f"{_name(event.argument)} needs a value")
        case tyro_errors.InstantiationFailure() if event.argument:
            number = (
                "a whole number" if "INT" in str(event.argument.lowered.metavar) else "a number"
            )
            value = re.search(r"'([^']*)'$", event.message)
            rule = f"{_name(event.argument)} must be {number}"
            return MmfeatError(rule, got=value[1] if value else event.message)
    return None


def _name(argument: ArgumentDefinition) -> str:
    """Return a flag, or the name of a positional argument in the help: `INPUT`."""
    return str(argument.lowered.metavar if argument.is_positional() else argument.display_name())


def _unknown_argument(prog: str, token: str, flags: Sequence[str]) -> MmfeatError:
    if not token.startswith("-"):
        return MmfeatError(f"{prog} takes no further argument", got=token)
    name = token.partition("=")[0]
    return MmfeatError(f"a flag must be one of {prog}", got=name, cure=did_you_mean(name, flags))
