"""The undisturbed run that all crashes are compared with, and the figures of the tests."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.disk import Operation, Tree
from tests.crash.recorder import Recorder, read_tree
from tests.crash.workload import STAGES, Workload, comparable
from tests.figures import COUNTS


@dataclass(frozen=True)
class UndisturbedRun:
    """A finished run of all stages.

    Attributes:
        workload: the stages.
        trees: stage → its finished output, without times.
        operations: stage → the calls that changed its output.
    """

    workload: Workload
    trees: Mapping[str, Tree]
    operations: Mapping[str, Sequence[Operation]]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> UndisturbedRun:
    """All stages, run once."""
    workload = Workload(tmp_path_factory.mktemp("crash") / "stores")
    trees, operations = {}, {}
    for stage in STAGES:
        output = workload.output(stage)
        output.mkdir()
        recorder = Recorder(output)
        with recorder.watch():
            workload.run(stage)
        trees[stage] = comparable(read_tree(output))
        operations[stage] = recorder.operations
    return UndisturbedRun(workload, trees, operations)


@pytest.fixture(scope="session")
def figures() -> Iterator[Counter[str]]:
    """Counts what the tests did. They are written as JSON to the file that CRASH_FIGURES names."""
    counts: Counter[str] = Counter()
    yield counts
    for name, number in counts.items():
        COUNTS[name.partition(": ")[2]] += number
    if path := os.environ.get("CRASH_FIGURES"):
        Path(path).write_text(json.dumps(dict(sorted(counts.items())), indent=2) + "\n")
