"""Console output: lines, tables and summaries.

Results go to standard output. Progress and messages go to standard error, so that a pipe receives
results only.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDTH_WITHOUT_TERMINAL = 120


def make_console(*, stderr: bool) -> Console:
    """Return a rich console for standard error or standard output."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def print_out(text: str) -> None:
    """Print a line to standard output."""
    make_console(stderr=False).print(text, soft_wrap=True)


def print_err(text: str) -> None:
    """Print a line to standard error."""
    make_console(stderr=True).print(text, soft_wrap=True)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a JSON document to standard output, escaped if its encoding lacks characters."""
    print(json.dumps(value, ensure_ascii=not prints_unicode(), indent=indent))


def prints_unicode() -> bool:
    """Return whether standard output can print every character."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def show_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, stderr: bool = False
) -> None:
    """Print a table. Columns of numbers are aligned right."""
    rows = [list(row) for row in rows]
    table = Table(show_header=any(columns))
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_format_cell(value) for value in row))
    console = make_console(stderr=stderr)
    console.print(title, style="bold", soft_wrap=True)  # a title of the table wraps at its width
    console.print(table)


def _format_cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def show_summary(title: str, facts: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
    """Print the closing table of a stage, one line per fact.

    Args:
        title: title of the table.
        facts: name → value, or pairs if a name occurs more than once.
    """
    pairs = facts.items() if isinstance(facts, Mapping) else facts
    show_table(title, ["", ""], [(name, _format_cell(value)) for name, value in pairs])
