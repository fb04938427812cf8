"""Fuzz every reader of bytes, and print what was found.

python -m tests.fuzz.main [--seconds 300] [--count N] [--seed 0] [TARGET...]

The last line is a JSON object: target → inputs and outcomes. The exit code is 1 if a reader
crashed, hung, took too much memory or raised an error that it does not document. Such inputs are in
`tests/fuzz/corpus/TARGET/`; the tests read them from then on.
"""

import argparse
import base64
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz.registry import TARGETS

REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).with_name("corpus")
PROCESSES = 2
MAX_CRASHES = 5
"""Crashes after which a target is left."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=300.0, help="in all")
    parser.add_argument("--count", type=int, default=1 << 62, help="inputs for each target at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="where inputs are kept")
    arguments = parser.parse_args()
    names = arguments.targets or [*TARGETS]
    each = arguments.seconds * PROCESSES / len(names)
    with ThreadPoolExecutor(PROCESSES) as pool:
        parts = [names[start::PROCESSES] for start in range(PROCESSES)]
        runs = [
            pool.submit(fuzz_targets, p, each, seed=arguments.seed, count=arguments.count)
            for p in parts
            if p
        ]
        results = {name: result for run in runs for name, result in run.result().items()}
    for name, result in results.items():
        for kind, data in result.pop("found").items():
            place = _save(arguments.corpus / name, data) if data else "before any mutant"
            print(f"{name}: {kind}\n  {place}")
    print(json.dumps(results))
    return int(any(result["findings"] for result in results.values()))


def fuzz_targets(
    names: Sequence[str], seconds: float = 1e9, *, seed: int = 0, count: int = 1 << 62,
    registry: str = "tests.fuzz.registry", options: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Fuzz targets in child processes, a new one after each crash.

    Args:
        names: the targets.
        seconds: time for each target.
        seed: the same seed gives the same inputs.
        count: inputs for each target at most.
        registry: the module that has `TARGETS`.
        options: more options of `tests.fuzz.child`.

    Returns:
        Target → `inputs`, `outcomes`, number of `findings`, and `found`: kind → input.
    """
    results = {name: _new_result() for name in names}
    left, began, crashes = [*names], time.monotonic(), 0
    while left:
        name = left[0]
        spent = time.monotonic() - began if crashes else 0.0
        ended, crash = _run_child(left, max(1.0, seconds - spent), seed + crashes, count,
                                  ["--registry", registry, *options], results)  # fmt: skip
        left = left[len(ended) :]
        if ended:
            crashes, began = 0, time.monotonic()
        if not crash:
            continue
        name, kind, data = crash
        results[name]["found"].setdefault(kind, data)
        results[name]["outcomes"][kind] = results[name]["outcomes"].get(kind, 0) + 1
        crashes += 1
        if crashes == 1:
            began = time.monotonic()
        if crashes >= MAX_CRASHES or spent > seconds:
            left, crashes = left[1:], 0
    for result in results.values():
        result["findings"] = len(result["found"])
        result["inputs"] = sum(result["outcomes"].values())
    return results


def _new_result() -> dict[str, Any]:
    return {"inputs": 0, "outcomes": {}, "findings": 0, "found": {}}


def _run_child(
    names: Sequence[str], seconds: float, seed: int, count: int, options: Sequence[str],
    results: dict[str, dict[str, Any]],
) -> tuple[list[str], tuple[str, str, bytes] | None]:  # fmt: skip
    """Run one child. Return the targets that ended, and the crash: target, kind and input."""
    ended = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        input_file = Path(folder) / "input"
        command = [sys.executable, "-m", "tests.fuzz.child", "--input", str(input_file),
                   "--seconds", str(seconds), "--seed", str(seed), "--count", str(count),
                   *options, *names]  # fmt: skip
        error_file = Path(folder) / "errors"
        with error_file.open("w") as stderr:
            process = subprocess.Popen(
                command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        assert process.stdout is not None
        for line in process.stdout:
            facts = json.loads(line)
            if "failed" in facts:
                print(f"{facts['failed']}: {facts['trace']}", file=sys.stderr)
                results[facts["failed"]]["found"]["the target failed"] = b""
                ended.append(facts["failed"])
            elif "done" in facts:
                ended.append(facts["done"])
                _add_outcomes(results[facts["done"]], facts)
            else:
                print(f"{facts['target']}: {facts['found']}\n{facts['trace']}", file=sys.stderr)
                data = base64.b64decode(facts["input"])
                results[facts["target"]]["found"].setdefault(facts["found"], data)
        process.wait()
        errors = error_file.read_text(errors="replace")[-3000:]
        if not process.returncode:
            return ended, None
        code = process.returncode
        kind = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        name = input_file.with_suffix(".name").read_text()
        print(f"{name}: {kind}\n{errors}", file=sys.stderr)
        return ended, (name, kind, input_file.read_bytes())


def _add_outcomes(result: dict[str, Any], facts: dict[str, Any]) -> None:
    for outcome, number in facts["outcomes"].items():
        result["outcomes"][outcome] = result["outcomes"].get(outcome, 0) + number
    result["kept"], result["lines"] = facts["pool"], facts["lines"]


def _save(folder: Path, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main())
