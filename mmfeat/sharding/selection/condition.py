"""Conditions on the metadata of records: the expressions of `--where`."""

import ast
import operator
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import simpleeval

from mmfeat.errors import MmfeatError, did_you_mean
from mmfeat.records import (
    Record,
    TextRef,
    decimal_comma_cure,
    slot_column,
    to_number,
    values_equal,
)

_METHODS = {str: {"startswith", "endswith", "lower", "upper", "strip"}, dict: set()}
"""Type → methods that an expression may call."""

_MAX_CHARACTERS = 10_000
"""Limit of an expression."""

_MAX_POWER = 1000
"""Limit of the base and of the exponent of a power, and of the digits of `round`."""

_MAX_BITS = 1 << 16
"""Limit of the integers that `*`, `//`, `%`, `int` and `round` take or return."""

_MAX_COLUMNS = 1000
_SHOWN_COLUMNS = 20
_SHOWN_CHARACTERS = 80

_UNDEFINED_ERRORS = (
    TypeError, ValueError, ArithmeticError, KeyError, IndexError, AttributeError,
    simpleeval.AttributeDoesNotExist,
)  # fmt: skip
"""Errors that a missing value, or one of another type, causes in an expression."""


class Condition:
    """A condition such as `width >= 256 and label in ("cat", "dog")`; safe for untrusted input.

    simpleeval evaluates the Python expression: comparisons, `and`, `or`, `not`, `in`, arithmetic,
    and a few functions and string methods. Names are metadata columns, slots of texts (`text`,
    `text_desc`), and `key`.

    Missing values follow SQL: a comparison with a missing value, or one of another type, is
    undefined, and so is its `not`. Records with an undefined condition are dropped. Use `is None`
    to test for missing values. A number and a text that is a number compare as numbers, since CSV
    has only texts; otherwise values are equal as `mmfeat.records.values_equal` says.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._evaluator = _Evaluator(_OPERATORS, dict(_FUNCTIONS), self._look_up, _METHODS)
        try:
            if len(text) > _MAX_CHARACTERS:
                raise ValueError(f"it has more than {_MAX_CHARACTERS} characters")
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a second expression would be ignored
                self._parsed = self._evaluator.parse(text)
                if not isinstance(self._parsed, ast.Expr):
                    raise ValueError("it is no expression")
        except (
            simpleeval.InvalidExpression, simpleeval.MultipleExpressions, SyntaxError,
            SyntaxWarning, ValueError, RecursionError, MemoryError,
        ) as error:  # fmt: skip
            raise MmfeatError(
                f"--where must be a condition: {error}",
                got=text[:_SHOWN_CHARACTERS],
                cure="""Write it as in --where 'width >= 256 and label == "cat"'""",
            ) from error
        self._values: dict[str, Any] = {}
        self._unknown_names: set[str] = set()
        self._known_names: set[str] = set()
        self._columns: set[str] = set()

    def _look_up(self, node: Any) -> Any:
        if node.id in self._values:
            self._known_names.add(node.id)
            return self._values[node.id]
        self._unknown_names.add(node.id)
        if len(self._columns) < _MAX_COLUMNS:
            self._columns.update(self._values)
        return None

    def __call__(self, record: Record) -> bool:
        """Return whether a record meets the condition."""
        texts = {
            slot_column(slot): ref.value
            for slot, ref in record.media.items()
            if isinstance(ref, TextRef)
        }
        self._values = {"key": record.key, **texts, **record.metadata}
        try:
            return bool(self._evaluator.eval(self._text, previously_parsed=self._parsed))
        except _UNDEFINED_ERRORS:
            return False
        except (RecursionError, MemoryError) as error:
            raise MmfeatError(
                "--where is nested too deeply", got=self._text[:_SHOWN_CHARACTERS]
            ) from error
        except simpleeval.InvalidExpression as error:
            raise MmfeatError(f"--where cannot be evaluated: {error}", got=self._text) from error

    def check_names(self) -> None:
        """Check, after all records, that every name was a column of at least one of them.

        Raises:
            MmfeatError: no record has one of the names.
        """
        if unknown := sorted(self._unknown_names - self._known_names):
            columns = sorted(self._columns)
            listed = ", ".join(columns[:_SHOWN_COLUMNS]) + (
                ", …" if len(columns) > _SHOWN_COLUMNS else ""
            )
            raise MmfeatError(
                "--where must use columns of the input; no record has this one",
                got=unknown[0],
                cure=f"{did_you_mean(unknown[0], columns)} Columns: {listed}".strip(),
            )

    def describe_texts(self) -> str:
        """Return which column held a text where a number was compared, if one did; else empty."""
        if not self._evaluator.text_cells:
            return ""
        column, text = next(iter(self._evaluator.text_cells.items()))
        cure = decimal_comma_cure(text)
        shown = text[:_SHOWN_CHARACTERS]
        cells = f"{column} has texts that are no numbers, such as {shown!r}"
        return f"{cells}. {cure}" if cure else cells


def _power(base: Any, exponent: Any) -> Any:
    if abs(base) > _MAX_POWER or abs(exponent) > _MAX_POWER:
        raise simpleeval.NumberTooHigh(f"powers go up to {_MAX_POWER}")
    return base**exponent


def _multiply(first: Any, second: Any) -> Any:
    return _bounded_number(first) * _bounded_number(second)


def _remainder(first: Any, second: Any) -> Any:
    return _bounded_number(first) % _bounded_number(second)


def _floor_divide(first: Any, second: Any) -> Any:
    return _bounded_number(first) // _bounded_number(second)


def _to_int(*arguments: Any) -> Any:
    """Return `int(*arguments)`, which reads hexadecimal digits of any number."""
    return _bounded_number(int(*arguments))


def _round(number: Any, ndigits: Any = None) -> Any:
    """Return `round(number, ndigits)`, which computes 10**-ndigits for integers."""
    if ndigits is not None and abs(ndigits) > _MAX_POWER:
        raise simpleeval.NumberTooHigh(f"round takes up to {_MAX_POWER} digits")
    return round(_bounded_number(number), ndigits)


def _bounded_number(value: Any) -> Any:
    """Refuse huge numbers, and texts and lists, which `*` and `%` could make huge."""
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise simpleeval.NumberTooHigh("the numbers grow too large")
    return value


def _equal(first: Any, second: Any) -> bool:
    first, second = _to_comparable(first, second)
    return bool(first == second) or values_equal(first, second)


def _contains(item: Any, container: Any) -> bool:
    if not isinstance(container, list | tuple | set):
        return item in container
    for other in container:
        with suppress(ValueError):  # a text that is no number, and a number
            if _equal(item, other):
                return True
    return False


def _numeric(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda first, second: compare(*_to_comparable(first, second))


_FUNCTIONS = {"len": len, "lower": str.lower, "upper": str.upper, "int": _to_int, "float": float,
              "str": str, "abs": abs, "round": _round, "min": min, "max": max}  # fmt: skip

_OPERATORS = simpleeval.DEFAULT_OPERATORS | {
    ast.Pow: _power,
    ast.Mult: _multiply,
    ast.Mod: _remainder,
    ast.FloorDiv: _floor_divide,
    ast.Eq: _equal,
    ast.NotEq: lambda first, second: not _equal(first, second),
    ast.In: _contains,
    ast.NotIn: lambda item, container: not _contains(item, container),
    ast.Lt: _numeric(operator.lt),
    ast.LtE: _numeric(operator.le),
    ast.Gt: _numeric(operator.gt),
    ast.GtE: _numeric(operator.ge),
}


class _Evaluator(simpleeval.EvalWithCompoundTypes):
    """Evaluates Python expressions with SQL's logic: None is neither true nor false."""

    def __init__(self, operators: Any, functions: Any, names: Any, methods: Any) -> None:
        super().__init__(operators, functions, names, methods)
        for loop in (ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.JoinedStr):
            del self.nodes[loop]
        self.nodes[ast.UnaryOp] = self._eval_not
        self.text_cells: dict[str, str] = {}
        """Column → the first text of it that was compared with a number and is none."""

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        value = self._eval(node.value)
        if isinstance(value, dict) and not node.attr.startswith("_"):
            return value.get(node.attr)
        return None if value is None else super()._eval_attribute(node)

    def _eval_not(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not) and self._eval_truth(node.operand) is None:
            return None
        return self._eval_unaryop(node)

    def _eval_boolop(self, node: ast.BoolOp) -> bool | None:
        decisive = isinstance(node.op, ast.Or)
        result: bool | None = not decisive
        for value in node.values:
            truth = self._eval_truth(value)
            if truth is decisive:
                return truth
            result = None if truth is None else result
        return result

    def _eval_truth(self, node: ast.AST) -> bool | None:
        try:
            value = self._eval(node)
        except _UNDEFINED_ERRORS:
            return None
        return None if value is None else bool(value)

    def _eval_compare(self, node: ast.Compare) -> bool | None:
        left = self._eval(node.left)
        for operation, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._eval(comparator)
            tests_none = isinstance(comparator, ast.Constant) and comparator.value is None
            if not tests_none and (left is None or right is None):
                return None
            try:
                holds = self.operators[type(operation)](left, right)
            except ValueError:
                self._note_texts(node)
                raise
            if not holds:
                return False
            left = right
        return True

    def _note_texts(self, node: ast.Compare) -> None:
        for name in (node.left, *node.comparators):
            if isinstance(name, ast.Name) and isinstance(value := self._eval(name), str):
                self.text_cells.setdefault(name.id, value)


def _to_comparable(first: Any, second: Any) -> tuple[Any, Any]:
    """Convert a text to a number if the other value is a number.

    Raises:
        ValueError: the text is no number.
    """
    if isinstance(first, str) and _is_number(second):
        return _parse_number(first), second
    if isinstance(second, str) and _is_number(first):
        return first, _parse_number(second)
    return first, second


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parse_number(text: str) -> int | float:
    number = to_number(text)
    if number is None:
        raise ValueError("not a number")
    return number
