"""Read a JSON document value by value, with Python's own decoder and flat memory."""

import json
import re
from collections.abc import Iterator
from typing import IO, Any

from mmfeat.records import is_utf8

_BLOCK_CHARACTERS = 1 << 16
_MAX_VALUE_CHARACTERS = 512 << 20
"""Limit of one value: a string that never closes must not use all memory."""

DECODER = json.JSONDecoder(strict=False)
"""Accepts what `json.loads` accepts (NaN, integers of any size), and control characters in text."""

_SPACES = " \t\n\r"
_SPACE = re.compile(rf"[{_SPACES}]*")
_TOKEN = re.compile(
    r'"(?:[^"\\]++|\\.)*+"|[-+.\deE]++|true|false|null|NaN|-?Infinity'
    r"|(?P<separator>[ \t\n\r,:]++)|(?P<bracket>[][{}])",
    re.DOTALL,
)
_CLOSING = {"[": "]", "{": "}"}
_LONGEST_WORD = len("-Infinity")
_NUMBER_TAIL = len("e+")
"""Characters after a number that may belong to it, once more is read."""


class BrokenJsonError(ValueError):
    """The document cannot be read on from here."""


class MalformedValue(str):
    """The error of one value that cannot be decoded, although its end is known."""

    __slots__ = ()


class JsonValues:
    """A JSON text that is read value by value.

    Args:
        file: the text.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text, self._place = "", 0
        self._lines = 0

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

        Raises:
            BrokenJsonError: the value is not JSON, or does not end.
        """
        self.next_character()
        while True:
            start = self._place
            try:
                value, end = DECODER.raw_decode(self._text, start)
            except (ValueError, RecursionError) as error:
                end = self._skip_value(error)
                value = MalformedValue(describe_error(error))
            if end and end + _NUMBER_TAIL < len(self._text):
                break
            if not self._read_more():
                if not end:
                    raise self.broken("the file ends inside a value")
                break
        if not is_utf8(self._text[start:end]):
            value = MalformedValue("not UTF-8")
        self._place = end
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
        if rest > _MAX_VALUE_CHARACTERS:
            raise self.broken(f"a value has more than {_MAX_VALUE_CHARACTERS} characters")
        block = self._file.read(max(_BLOCK_CHARACTERS, rest))
        if block:
            self._lines += self._text.count("\n", 0, self._place)
            self._text, self._place = self._text[self._place :] + block, 0
        return bool(block)

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
