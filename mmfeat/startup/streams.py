"""Standard output and error that do not stop a command: closed, a broken pipe, any encoding."""

import codecs
import io
import os
import sys
from typing import Any

_ASCII = {"→": "->", "…": "...", "×": "x", "·": "-", "–": "-"}
"""Signs in messages → what to print if the terminal does not have them."""

_ENCODING_ERRORS = "mmfeat-terminal"


def open_standard_streams() -> None:
    """Connect standard streams that are closed to the null device.

    Otherwise, the next file that is opened takes their place and receives their output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)
            if getattr(sys, name) is None:
                stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
                setattr(sys, name, stream)


def tolerate_lost_output() -> None:
    """Let the command continue if nothing reads its output any more, or cannot show a character."""
    codecs.register_error(_ENCODING_ERRORS, _replace_character)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        setattr(sys, name, _tolerant_stream(stream))


def _tolerant_stream(stream: Any) -> io.TextIOWrapper:
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_LenientWriter(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=_ENCODING_ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _LenientWriter(io.FileIO):
    """Writes to a stream. After an error, further output is dropped; a broken pipe is no error."""

    def write(self, data: Any) -> int:
        """Write bytes and return how many were taken."""
        try:
            return super().write(data)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())  # or Python writes the same bytes again when it ends
            os.close(null)
            if not isinstance(error, BrokenPipeError):
                raise
            return memoryview(data).nbytes


def _replace_character(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    escaped = character.encode("ascii", "backslashreplace").decode("ascii")
    return _ASCII.get(character, escaped), error.start + 1
