"""Read a JSON document value by value, with Python's own decoder and flat memory."""

import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from mmfeat.records import is_utf8
from mmfeat.sources.tables.formats.limits import MAX_RECORD_CHARACTERS, MAX_RECORD_VALUES

_BLOCK_CHARACTERS = 1 << 16
"""Characters that are read at first; inside a long value the text doubles."""

_MAX_REST_CHARACTERS = 1 << 20
"""Most characters that are decoded without a check of how many values they may hold."""

TOO_LONG = (
    f"a value has more than {MAX_RECORD_CHARACTERS:,} characters, or {MAX_RECORD_VALUES:,} values"
)

DECODER = json.JSONDecoder(strict=False)
"""Accepts what `json.loads` accepts (NaN, integers of any size), and control characters in text."""

_SPACES = " \t\n\r"
_SPACE = re.compile(rf"[{_SPACES}]*")
_TOKEN = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[-+.\deE]++|true|false|null|NaN|-?Infinity'
    r"|(?P<separator>[ \t\n\r,:]++)|(?P<bracket>[][{}])",
    re.DOTALL,
)
_TEXT_REST = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""The rest of a text, up to its quote."""

_UNNESTED = re.compile(r'[^][{}"]++')
"""Numbers, words and what stands between values, inside a list or an object."""

_SCALAR = re.compile(rf'[^][{{}}",:{_SPACES}]++')

_MAX_SKIPPED_STEPS = 16 << 20
"""Limit of the texts and brackets of a value that is skipped. More would take minutes."""

_CLOSING = {"[": "]", "{": "}"}
_LONGEST_WORD = len("-Infinity")
_NUMBER_TAIL = len("e+")
"""Characters after a number that may belong to it, once more is read."""


class BrokenJsonError(ValueError):
    """The document cannot be read on from here."""


class MalformedValue(str):
    """The error of one value that cannot be decoded, although its end is known."""

    __slots__ = ()


class OversizedValue(MalformedValue):
    """The error of one value that is too long, although its end is known."""

    __slots__ = ()


def has_too_many_values(text: str, start: int = 0) -> bool:
    """Return whether a long text may hold more values than a record may have."""
    if len(text) - start <= MAX_RECORD_VALUES:
        return False
    return sum(text.count(mark, start) for mark in ",[{") > MAX_RECORD_VALUES


class JsonValues:
    """A JSON text that is read value by value.

    Args:
        file: the text.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._ahead = io.StringIO()
        self._text, self._place = "", 0
        self._lines = self._dropped = 0

    @property
    def position(self) -> int:
        """Characters read so far."""
        return self._dropped + self._place

    def next_character(self) -> str:
        """Return the next character that is no space, without reading it; empty at the end."""
        while True:
            character = self._text[self._place : self._place + 1]
            if character and character not in _SPACES:
                return character
            match = _SPACE.match(self._text, self._place)
            self._place = match.end() if match else self._place
            if self._place == len(self._text) and not self._read_more():
                return ""

    def take(self, character: str) -> bool:
        """Read the next character if it is this one; return whether it was."""
        if self.next_character() != character:
            return False
        self._place += 1
        return True

    def value(self) -> Any:
        """Read the next value; a `MalformedValue` if it can be skipped but not decoded.

        It is an `OversizedValue` if it exceeds a limit of `mmfeat.sources.tables.formats.limits`.

        Raises:
            BrokenJsonError: the value is not JSON, or does not end.
        """
        self.next_character()
        while True:
            start = self._place
            try:
                value, end = DECODER.raw_decode(self._text, start)
            except ValueError as error:
                end = self._skip_value(error)
                value = MalformedValue(describe_error(error))
            except RecursionError as error:
                self._skip_oversized()
                return MalformedValue(describe_error(error))
            if end and end + _NUMBER_TAIL < len(self._text):
                break
            if self._is_oversized():
                self._skip_oversized()
                return OversizedValue(TOO_LONG)
            if not self._read_more():
                if not end:
                    raise self.broken("the file ends inside a value")
                break
        if not is_utf8(self._text[start:end]):
            value = MalformedValue("not UTF-8")
        self._place = end
        self._put_back()
        return value

    def elements(self) -> Iterator[Any]:
        """Yield the elements of an array, from its `[` to its `]`.

        Raises:
            BrokenJsonError: the array does not end, or has something between its elements.
        """
        self.expect("[")
        if self.take("]"):
            return
        while True:
            yield self.value()
            if self.take("]"):
                return
            self.expect(",")

    def names(self) -> Iterator[str]:
        """Yield the names of an object, from its `{` to its `}`. The caller reads each value.

        Raises:
            BrokenJsonError: the object does not end, or has something between its members.
        """
        self.expect("{")
        if self.take("}"):
            return
        while True:
            if self.next_character() != '"':
                raise self.broken("an object must have names in double quotes")
            name = self.value()
            self.expect(":")
            yield name
            if self.take("}"):
                return
            self.expect(",")

    def expect(self, character: str) -> None:
        """Read the next character, which must be this one."""
        if not self.take(character):
            found = self.next_character()
            raise self.broken(
                f"{character!r} is missing" + (f" before {found!r}" if found else " at its end")
            )

    def expect_end(self) -> None:
        """Check that nothing follows."""
        if found := self.next_character():
            raise self.broken(f"{found!r} follows where the JSON is complete")

    def broken(self, problem: str) -> BrokenJsonError:
        """Return an error at the current place."""
        line = self._lines + self._text.count("\n", 0, self._place) + 1
        return BrokenJsonError(f"line {line}: {problem}")

    def _read_more(self) -> bool:
        rest = len(self._text) - self._place
        size = max(1, min(max(_BLOCK_CHARACTERS, rest), MAX_RECORD_CHARACTERS + 1 - rest))
        block = self._ahead.read(size) or self._file.read(size)
        if block:
            self._lines += self._text.count("\n", 0, self._place)
            self._dropped += self._place
            self._text, self._place = self._text[self._place :] + block, 0
        return bool(block)

    def _put_back(self) -> None:
        """Keep the text after a long value for later, so that the next value is read bit by bit."""
        end = self._place + _MAX_REST_CHARACTERS
        if len(self._text) > end:
            self._ahead = io.StringIO(self._text[end:] + self._ahead.read())
            self._text = self._text[:end]

    def _is_oversized(self) -> bool:
        """Return whether the current value is too long. It fills the text that was read."""
        return len(self._text) - self._place > MAX_RECORD_CHARACTERS or has_too_many_values(
            self._text, self._place
        )

    def _skip_oversized(self) -> None:
        """Skip a value without keeping it in memory.

        Raises:
            BrokenJsonError: the file ends inside it, or it has too many texts and brackets.
        """
        depth = 0
        for _ in range(_MAX_SKIPPED_STEPS):
            start = self.next_character()
            if not start:
                raise self.broken("the file ends inside a value")
            if start == '"':
                self._place += 1
                self._skip_pattern(_TEXT_REST)
                self.expect('"')
            elif start in "[]{}":
                self._place += 1
                depth += 1 if start in "[{" else -1
            else:
                self._skip_pattern(_UNNESTED if depth else _SCALAR)
            if depth <= 0:
                return
        raise self.broken(f"a value has more than {_MAX_SKIPPED_STEPS:,} texts and brackets")

    def _skip_pattern(self, pattern: re.Pattern[str]) -> None:
        """Skip the longest text that a pattern matches, over any number of blocks."""
        while True:
            match = pattern.match(self._text, self._place)
            self._place = match.end() if match else self._place
            # A backslash at the end of a block waits for the character that it escapes.
            if len(self._text) - self._place > 1 or not self._read_more():
                return

    def _skip_value(self, error: Exception) -> int:
        """Return the end of a value that cannot be decoded; 0 if more must be read to find it.

        Its tokens must be tokens of JSON, and its brackets must match. Otherwise its end is
        unknown: a stray quote turns text into structure, and other values would be skipped too.
        """
        place, open_brackets = self._place, []
        while match := _TOKEN.match(self._text, place):
            place, bracket = match.end(), match["bracket"]
            if bracket in _CLOSING:
                open_brackets.append(_CLOSING[bracket])
            elif bracket:
                if not open_brackets or open_brackets.pop() != bracket:
                    break
            elif match["separator"] and not open_brackets:
                break
            if not open_brackets:
                return place
        else:
            rest = self._text[place : place + _LONGEST_WORD]
            if len(rest) < _LONGEST_WORD or rest[0] == '"':
                return 0
        raise self.broken(describe_error(error)) from error


def describe_error(error: Exception) -> str:
    """Return what is wrong with a value, in one line without its place."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)
