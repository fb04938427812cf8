"""Fuzz targets one after the other in this process, which a reader may kill.

python -m tests.fuzz.child --input FILE [--seconds S] [--count N] [--seed N] TARGET...

Every input is written to a file before it is read, so that the one that killed the process is
known. Results are lines of JSON on standard output.
"""

import argparse
import base64
import importlib
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.coverage import traced_lines
from tests.fuzz.limits import CPU_SECONDS, HangError, call_limited, lift_limits, limit_process
from tests.fuzz.target import Target

CORPUS = Path(__file__).with_name("corpus")
TRACED_SHARE = 4
"""Of this many inputs, the lines of one are traced, which takes several times as long."""

TRACED_BYTES = 1 << 13
"""Longer inputs are not traced."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--input", type=Path, required=True, help="where inputs are written")
    parser.add_argument("--seconds", type=float, default=1e9, help="for each target")
    parser.add_argument("--count", type=int, default=1 << 62, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu-seconds", type=float, default=CPU_SECONDS, help="for each input")
    parser.add_argument("--registry", default="tests.fuzz.registry")
    arguments = parser.parse_args()
    registry = importlib.import_module(arguments.registry).TARGETS
    for name in arguments.targets:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            lift_limits()
            try:
                random = Random(f"{arguments.seed}:{name}")
                run = _Run(name, registry[name](Path(folder)), arguments.input)
                run.cpu_seconds = arguments.cpu_seconds
                run.fuzz(random, arguments.seconds, arguments.count)
            except Exception:
                _print(failed=name, trace=traceback.format_exc())


class _Run:
    """The inputs of one target and what became of them."""

    def __init__(self, name: str, target: Target, input_file: Path) -> None:
        self.name, self.target = name, target
        self.outcomes: Counter[str] = Counter()
        self.cpu_seconds = CPU_SECONDS
        self._input = input_file.open("wb", buffering=0)
        self._input_name = input_file.with_suffix(".name")
        self._input_name.write_text(name)
        self._found: set[str] = set()
        self._lines: set[tuple[str, int, int]] = set()

    def fuzz(self, random: Random, seconds: float, count: int) -> None:
        """Read the seeds, the corpus, and mutants until the time or the count is over."""
        pool = [*self.target.seeds]
        for seed in self.target.seeds:
            self.target.read(seed)  # a seed that fails makes its mutants worthless
            with traced_lines(self._lines):
                self.target.read(seed)
        limit_process()
        for file in sorted((CORPUS / self.name).glob("*")):
            self._read(file.read_bytes())
        end = time.monotonic() + seconds
        for number in range(count):
            if time.monotonic() > end:
                break
            data = self.target.mutate(random, pool, self.target.tokens)
            if number % TRACED_SHARE or len(data) > TRACED_BYTES:
                self._read(data)
                continue
            known = len(self._lines)
            with traced_lines(self._lines):
                self._read(data)
            if len(self._lines) > known:
                pool.append(data)
        _print(done=self.name, outcomes=dict(self.outcomes), pool=len(pool), lines=len(self._lines))

    def _read(self, data: bytes) -> None:
        self._input.seek(0)
        self._input.write(data)
        self._input.truncate()
        try:
            call_limited(self.target.read, data, self.cpu_seconds)
            self.outcomes["read"] += 1
        except self.target.errors as error:
            self.outcomes[type(error).__name__] += 1
        except (Exception, HangError) as error:
            self._report(error, data)

    def _report(self, error: BaseException, data: bytes) -> None:
        """Print an error that no reader may raise; each place in the code once."""
        place = next(_own_places(error), "")
        kind = f"{type(error).__name__} at {place}"
        self.outcomes[kind] += 1
        if kind not in self._found:
            self._found.add(kind)
            lines = traceback.format_exception(error)
            content = base64.b64encode(data).decode()
            _print(found=kind, target=self.name, trace="".join(lines)[-3000:], input=content)


def _own_places(error: BaseException) -> Iterator[str]:
    """Yield the places in mmfeat that an error went through, the deepest first."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "/mmfeat/" in frame.filename:
            yield f"{frame.filename.rpartition('/mmfeat/')[2]}:{frame.lineno}"


def _print(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    sys.exit(main())
