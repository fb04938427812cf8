"""Run the tests of promises, and print the table of docs/reliability.md.

python -m tests.reliability [--points 500] [--seconds 300]

The last line is one JSON object: event → number of times it happened. The exit code is 1 if a
promise was broken.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter

from tests import figures

PROMISES = {
    "a killed command, run again, gives the same bytes": (
        "shard, extract and train are killed at random moments and run again",
        ["tests/pipelines/shard/test_shard_faults.py", "tests/training/fit/test_resume.py",
         "tests/pipelines/extract/test_extract_faults.py"],
        ["killed commands"],
    ),
    "a killed worker costs no record": (
        "workers of shard, extract, score and compare are killed while the command runs",
        ["tests/pipelines/test_killed_workers.py", "tests/training/compare/test_dead_processes.py"],
        ["killed workers"],
    ),
    "a record that kills its process costs only its row": (
        "pictures, texts and rows that kill their process are found and rejected",
        ["tests/pipelines/test_deadly_records.py"],
        ["deadly records"],
    ),
    "a power cut loses nothing that a receipt vouches for": (
        "the disk after any call, with unsynced changes lost or out of order; then run again",
        ["tests/crash"],
        ["power cuts"],
    ),
    "a failing disk leaves nothing half-written": (
        "every n-th call fails with EIO or ENOSPC; then run again",
        [],
        ["failing disks"],
    ),
    "a flipped bit is noticed": (
        "bits of any file of a store are flipped; verify, extract, score and train read it",
        ["tests/mmfeat/verification/test_verify.py", "tests/mmfeat/verification/test_readers.py"],
        ["flipped bits"],
    ),
    "a damaged column or document is an error that names it": (
        "columns with damaged bytes and digests to match; each field of each document damaged",
        ["tests/mmfeat/features/test_damaged_columns.py",
         "tests/end_to_end/test_damaged_documents.py"],
        ["damaged columns", "damaged fields"],
    ),
}  # fmt: skip
"""Promise → how it is tested, the tests, and the events that they count."""

FUZZED = ("no file crashes, stalls or floods a reader", "mutated files for every reader of bytes")


def main() -> int:
    """Run all, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500, help="power cuts and failing disks")
    parser.add_argument("--seconds", type=int, default=300, help="time for mutated files")
    options = parser.parse_args()
    rows, counts, broken = [], Counter[str](), False
    for promise, (method, tests, events) in PROMISES.items():
        if tests:
            failed, found = run_tests(tests, options.points)
            counts += found
            broken |= failed
        result = "broken" if failed else "0 lost, 0 doubled, 0 unnoticed"
        numbers = ", ".join(f"{counts[event]:,} {event}" for event in events)
        rows.append((promise, method, numbers, result))
    inputs, findings = fuzz(options.seconds)
    counts["mutated files"] = inputs
    rows.append((*FUZZED, f"{inputs:,} mutated files", f"{findings} findings"))
    print_table([("promise", "how it is tested", "figures", "result"), ("---",) * 4, *rows])
    print(json.dumps(counts))
    return int(broken or findings > 0)


def run_tests(tests: list[str], points: int) -> tuple[bool, Counter[str]]:
    """Run tests; return whether one failed, and what they counted."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FIGURES": folder, "CRASH_POINTS": str(points)}
        command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2", *tests]
        code = subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode
        return code != 0, figures.load(folder)


def fuzz(seconds: int) -> tuple[int, int]:
    """Fuzz all readers; return the numbers of inputs and findings."""
    command = [sys.executable, "-m", "tests.fuzz.main", "--seconds", str(seconds)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    results = json.loads(output.splitlines()[-1]).values()
    return sum(r["inputs"] for r in results), sum(r["findings"] for r in results)


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print a table in Markdown."""
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    sys.exit(main())
