"""How fast `mmfeat shard --dry-run` plans a large table, and in how much memory.

The limit, in the same run, is Python's csv module merely reading the same file.
"""

import csv
import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.contenders import REPOSITORY
from benchmarks.folder import work_folder
from benchmarks.measure import Usage
from mmfeat.config.flags import parse_args
from mmfeat.system.console import print_err, show_table

READ_CSV = "import csv, sys; print(sum(1 for _ in csv.reader(open(sys.argv[1], newline=''))))"
_WORDS = "red green blue small large old new round square bright lamp boat house tree road".split()
_LABELS = 10


@dataclass
class Options:
    """Time the plan of a generated table of references; there are no pictures behind it.

    The last line of the output is one JSON object.
    """

    rows: int = 10_000_000
    """Rows of the table."""
    folder: str = ""
    """Keep the table here and use it again; a temporary folder when not given."""
    command: str = "{python} -m mmfeat.cli.main shard {table} {output} --dry-run"
    """What to time, run in the root of the repository."""


def main(arguments: Sequence[str]) -> None:
    """Make the table, run both, print the table of figures and the JSON."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.plan")
    with work_folder(options.folder) as folder:
        print_err(f"plan: {options.rows:,} rows in {folder}")
        table, output = folder / f"{options.rows}.csv", folder / "output"
        if not table.exists():
            make_table(table, options.rows)
        size = table.stat().st_size
        print_err("plan: the csv module")
        limit = _run([sys.executable, "-c", READ_CSV, str(table)], folder, output)
        places = {"python": sys.executable, "table": str(table), "output": str(output)}
        command = [word.format(**places) for word in shlex.split(options.command)]
        print_err(f"plan: {shlex.join(command)}")
        ours = _run(command, folder, output)
    show_table(
        f"{options.rows:,} rows, {size / 1e6:,.0f} MB",
        ["", "rows/s", "MB/s", "seconds", "processor s", "peak MB"],
        [
            _row("the plan", ours, options.rows, size),
            _row("csv module (the limit)", limit, options.rows, size),
        ],
    )
    facts = {
        "rows": options.rows,
        "rows_per_s": round(options.rows / ours.seconds),
        "csv_rows_per_s": round(options.rows / limit.seconds),
        "vs_csv": round(ours.seconds / limit.seconds, 3),
        "peak_memory_mb": round(ours.peak_mb, 1),
    }
    print(json.dumps(facts))


def make_table(path: Path, rows: int) -> None:
    """Write the table a row at a time; it appears whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "text", "label"))
        writer.writerows(_rows(rows))
    unfinished.rename(path)


def _rows(rows: int) -> Iterator[tuple[str, str, str]]:
    words = len(_WORDS)
    for row in range(rows):
        first, second = _WORDS[row % words], _WORDS[row // words % words]
        name = f"{row // 10_000:05d}/{row:010d}.jpg"
        yield name, f'a {first} and a {second} thing, "number {row}"', f"class {row % _LABELS}"


def _run(command: list[str], folder: Path, output: Path) -> Usage:
    shutil.rmtree(output, ignore_errors=True)
    log = str(folder / "plan.log")
    try:
        return measure.run(command, output=str(output), folder=str(REPOSITORY), log=log)
    except RuntimeError as error:
        sys.exit(f"plan: {error}")
    finally:
        shutil.rmtree(output, ignore_errors=True)


def _row(title: str, usage: Usage, rows: int, size: int) -> list[str | float]:
    return [
        title,
        round(rows / usage.seconds),
        round(size / usage.seconds / 1e6),
        usage.seconds,
        usage.processor_seconds,
        usage.peak_mb,
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
