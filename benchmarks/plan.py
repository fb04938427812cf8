"""Time `mmfeat shard --dry-run` on a large table, and measure its memory.

The limit, in the same run, is the csv module of Python, which only reads the file.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets.generation import WORDS, write_csv
from benchmarks.harness.measure import Usage
from benchmarks.harness.run import run_command, work_folder
from mmfeat.config import parse_args
from mmfeat.system import print_err, show_table

READ_CSV = "import csv, sys; print(sum(1 for _ in csv.reader(open(sys.argv[1], newline=''))))"
_LABELS = 10


@dataclass
class Options:
    """Time the plan of a generated table. The images that it names do not exist.

    The last line of the output is one JSON object.
    """

    rows: int = 10_000_000
    """Rows of the table."""
    folder: str = ""
    """Folder to keep and reuse the table; default: a temporary folder."""
    command: str = "{python} -m mmfeat shard {table} {output} --dry-run"
    """Command to time, run in the root of the repository."""


def main(arguments: Sequence[str]) -> None:
    """Make the table, run both programs, print the results and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.plan")
    with work_folder(options.folder) as folder:
        print_err(f"plan: make {options.rows:,} rows in {folder}")
        table, output = folder / f"{options.rows}.csv", folder / "output"
        if not table.exists():
            write_csv(table, ("file_name", "text", "label"), _generate_rows(options.rows))
        size = table.stat().st_size
        print_err("plan: run the csv module")
        limit = _run([sys.executable, "-c", READ_CSV, str(table)], output)
        values = {"python": sys.executable, "table": str(table), "output": str(output)}
        command = [word.format(**values) for word in shlex.split(options.command)]
        print_err(f"plan: run {shlex.join(command)}")
        plan = _run(command, output)
    show_table(
        f"{options.rows:,} rows, {size / 1e6:,.0f} MB",
        ["", "rows/s", "MB/s", "seconds", "processor s", "peak MB"],
        [
            _table_row("mmfeat shard --dry-run", plan, options.rows, size),
            _table_row("csv module (the limit)", limit, options.rows, size),
        ],
    )
    result = {
        "rows": options.rows,
        "rows_per_s": round(options.rows / plan.seconds),
        "csv_rows_per_s": round(options.rows / limit.seconds),
        "vs_csv": round(plan.seconds / limit.seconds, 3),
        "peak_memory_mb": round(plan.peak_mb, 1),
    }
    print(json.dumps(result))


def _generate_rows(rows: int) -> Iterator[tuple[str, str, str]]:
    words = len(WORDS)
    for row in range(rows):
        first, second = WORDS[row % words], WORDS[row // words % words]
        name = f"{row // 10_000:05d}/{row:010d}.jpg"
        yield name, f'a {first} and a {second} thing, "number {row}"', f"class {row % _LABELS}"


def _run(command: list[str], output: Path) -> Usage:
    try:
        return run_command(command, output)
    except RuntimeError as error:
        sys.exit(f"plan: {error}")
    finally:
        shutil.rmtree(output, ignore_errors=True)


def _table_row(title: str, usage: Usage, rows: int, size: int) -> list[str | float]:
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
