"""Which records of an input are wanted: a condition on their metadata, a list of keys."""

import ast
import codecs
import posixpath
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpleeval

from mmfeat.errors import MmfeatError
from mmfeat.records.keys import safe_key
from mmfeat.records.media_ref import TextRef
from mmfeat.records.metadata import to_json_value
from mmfeat.records.record import Record
from mmfeat.sources.digests import digest_of
from mmfeat.sources.rows import TABLE_FORMATS, Bytes, open_unpacked, read_columns, read_rows
from mmfeat.store import files

_KEY_COLUMNS = ("__key__", "key", "uid")

_FUNCTIONS = {"len": len, "lower": str.lower, "upper": str.upper, "int": int, "float": float,
              "str": str, "abs": abs, "round": round, "min": min, "max": max}  # fmt: skip


_METHODS = {str: {"startswith", "endswith", "lower", "upper", "strip"}, dict: set()}
"""Type → methods that an expression may call."""

_MAX_POWER = 1000

_NOTHING = (
    TypeError, ValueError, ArithmeticError, KeyError, IndexError, AttributeError,
    simpleeval.AttributeDoesNotExist,
)  # fmt: skip
"""What an expression may raise over a value that is missing or of another type."""


def _power(base: Any, exponent: Any) -> Any:
    if abs(base) > _MAX_POWER or abs(exponent) > _MAX_POWER:
        raise simpleeval.NumberTooHigh(f"powers go up to {_MAX_POWER}")
    return base**exponent


def _product(first: Any, second: Any) -> Any:
    return _number(first) * _number(second)


def _remainder(first: Any, second: Any) -> Any:
    return _number(first) % _number(second)


def _number(value: Any) -> Any:
    """A number that cannot grow beyond all bounds; texts and lists are multiplied by none."""
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    if isinstance(value, int) and value.bit_length() > 1 << 16:
        raise simpleeval.NumberTooHigh("the numbers grow too large")
    return value


_OPERATORS = simpleeval.DEFAULT_OPERATORS | {
    ast.Pow: _power, ast.Mult: _product, ast.Mod: _remainder
}  # fmt: skip


class _Evaluator(simpleeval.EvalWithCompoundTypes):
    """Python's expressions with SQL's logic: None is neither true nor false."""

    def __init__(self, operators: Any, functions: Any, names: Any, methods: Any) -> None:
        super().__init__(operators, functions, names, methods)
        for loop in (ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.JoinedStr):
            del self.nodes[loop]
        self.nodes[ast.UnaryOp] = self._unary

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        value = self._eval(node.value)
        if isinstance(value, dict) and not node.attr.startswith("_"):
            return value.get(node.attr)
        return None if value is None else super()._eval_attribute(node)

    def _unary(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not) and self._truth(node.operand) is None:
            return None
        return self._eval_unaryop(node)

    def _eval_boolop(self, node: ast.BoolOp) -> bool | None:
        decisive = isinstance(node.op, ast.Or)
        result: bool | None = not decisive
        for value in node.values:
            truth = self._truth(value)
            if truth is decisive:
                return truth
            result = None if truth is None else result
        return result

    def _truth(self, node: ast.AST) -> bool | None:
        try:
            value = self._eval(node)
        except _NOTHING:
            return None
        return None if value is None else bool(value)

    def _eval_compare(self, node: ast.Compare) -> bool | None:
        left = self._eval(node.left)
        for operation, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._eval(comparator)
            about_none = isinstance(comparator, ast.Constant) and comparator.value is None
            if not about_none and (left is None or right is None):
                return None
            if not self.operators[type(operation)](*_comparable(left, right)):
                return False
            left = right
        return True


def _comparable(first: Any, second: Any) -> tuple[Any, Any]:
    """Both values, as numbers where one is a number and the other the text of one."""
    if isinstance(first, str) and _is_number(second):
        return float(first), second
    if isinstance(second, str) and _is_number(first):
        return first, float(second)
    return first, second


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Condition:
    """A condition such as `width >= 256 and label in ("cat", "dog")`, safe to take from anyone.

    The expression is Python's, evaluated by simpleeval: comparisons, and, or, not, in, arithmetic
    and a few functions and methods of texts, nothing that leads anywhere. Names are metadata
    columns, texts by their slot, and `key`. A comparison with a value that is missing or of
    another type says nothing, as in SQL: neither it nor its `not` makes a record wanted. To ask
    for what is missing, compare with None. A number and a text that is a number are compared as
    numbers, for a CSV has texts only.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._evaluator = _Evaluator(_OPERATORS, dict(_FUNCTIONS), self._value_of, _METHODS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a second expression, which would be ignored
                self._parsed = self._evaluator.parse(text)
                if not isinstance(self._parsed, ast.Expr):
                    raise ValueError("it is no expression")
        except (
            simpleeval.InvalidExpression, simpleeval.MultipleExpressions, SyntaxError,
            SyntaxWarning, ValueError, RecursionError, MemoryError,
        ) as error:  # fmt: skip
            raise MmfeatError(
                f"--where must be a condition: {error}",
                got=text,
                cure="""Write it as in --where 'width >= 256 and label == "cat"'""",
            ) from error
        self._values: dict[str, Any] = {}
        self._unknown: set[str] = set()
        self._known: set[str] = set()

    def _value_of(self, node: Any) -> Any:
        if node.id in self._values:
            self._known.add(node.id)
            return self._values[node.id]
        self._unknown.add(node.id)
        return None

    def __call__(self, record: Record) -> bool:
        """Whether a record is wanted."""
        texts = {
            slot: part.value for slot, part in record.media.items() if isinstance(part, TextRef)
        }
        self._values = {"key": record.key, **texts, **record.metadata}
        try:
            return bool(self._evaluator.eval(self._text, previously_parsed=self._parsed))
        except _NOTHING:
            return False
        except (RecursionError, MemoryError) as error:
            raise MmfeatError("--where is nested too deeply", got=self._text[:80]) from error
        except simpleeval.InvalidExpression as error:
            raise MmfeatError(f"--where cannot be evaluated: {error}", got=self._text) from error

    def check(self) -> None:
        """Once all records are seen: every name was a column of at least one of them.

        Raises:
            MmfeatError: one was of none.
        """
        if never := sorted(self._unknown - self._known):
            raise MmfeatError(
                "--where must speak of columns of the input; no record has this one",
                got=never[0],
            )


@dataclass(frozen=True)
class Selection:
    """What is wanted of an input.

    Attributes:
        where: a condition on the metadata; empty = all records.
        keys: file of the keys that are wanted; empty = all.
        keys_column: metadata column that the file's keys are looked up in; empty = the key.
    """

    where: str = ""
    keys: str = ""
    keys_column: str = ""

    def __post_init__(self) -> None:
        if self.keys_column and not self.keys:
            raise MmfeatError("--keys-column goes with --keys", got=self.keys_column)

    def describe(self) -> dict[str, Any]:
        """What determines the choice."""
        if self.keys:
            _require_file(self.keys)
        sha256 = digest_of(self.keys) if self.keys else ""
        return {"where": self.where, "keys_sha256": sha256, "keys_column": self.keys_column}

    def value(self, record: Record) -> str:
        """What of a record is looked up in the list of keys."""
        if not self.keys_column:
            return record.key
        value = record.metadata.get(self.keys_column)
        return "" if value is None else str(value)

    def wanted(self) -> Iterator[str]:
        """The keys of the file, streamed: one a line, a column of a table, or DataComp's .npy."""
        return read_keys(self.keys)

    def fold(self, key: str) -> str:
        """A key may be written as the input has it: `v1.2` finds `v1_2`."""
        return key if self.keys_column else safe_key(key)


def read_keys(path: str) -> Iterator[str]:
    """Keys out of a text file, a table with a column of keys, or DataComp's array of uids.

    Raises:
        MmfeatError: no such file, a table without such a column, an array of another type.
    """
    _require_file(path)
    suffix = posixpath.splitext(path.removesuffix(".gz").removesuffix(".zst"))[1].lower()
    if suffix == ".npy":
        return _uids(path)
    if suffix in TABLE_FORMATS:
        columns = read_columns(path)
        column = next((name for name in _KEY_COLUMNS if name in columns), None)
        if column is None:
            raise MmfeatError(
                f"a table of keys needs a column called {', '.join(_KEY_COLUMNS[:-1])} or "
                f"{_KEY_COLUMNS[-1]}: {path}",
                got=", ".join(columns),
            )
        return _cells(path, column)
    return _lines(path)


def _require_file(path: str) -> None:
    if files.size(path) is None:
        raise MmfeatError("no such file of keys", got=path)


def _cells(path: str, column: str) -> Iterator[str]:
    for row in read_rows(path):
        value = row.get(column) if isinstance(row, dict) else None
        if isinstance(value, Bytes):
            raise MmfeatError(f"a column of keys holds texts or numbers: {path}", got=column)
        if value is not None:
            yield to_json_value(str(value))


def _lines(path: str) -> Iterator[str]:
    with open_unpacked(path) as file:
        for number, line in enumerate(file):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
            if key := text.decode(errors="surrogateescape").strip():
                yield to_json_value(key)


def _uids(path: str) -> Iterator[str]:
    """DataComp writes the 128 bits of a uid as two unsigned integers."""
    with files.local_copy(path) as local:
        try:
            array = np.load(local, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise MmfeatError(f"{path} is no array of uids: {error}") from error
        if array.dtype.kind != "V" or [k.kind for k, *_ in (array.dtype.fields or {}).values()] != [
            "u", "u",
        ] or array.ndim != 1:  # fmt: skip
            raise MmfeatError("an array of uids has two unsigned integers a row", got=array.dtype)
        for high, low in array:
            yield f"{int(high):016x}{int(low):016x}"
