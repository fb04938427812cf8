"""A comparison survives the death of the processes that train its models."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmfeat.cli import main
from tests.conftest import REPOSITORY
from tests.figures import COUNTS
from tests.training.runs import compare_flags
from tests.training.stores import write_store, xor_records
from tests.workers import kill, workers_of

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-m", "mmfeat", "compare")

FLAGS = compare_flags("concat", hidden=8, epochs=1, seeds=1, emap_rows=20)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    write_store(str(folder), xor_records(400))
    return folder


@pytest.fixture
def start(tmp_path: Path, features: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the comparison in a process of its own, in which a model may be deadly."""
    (tmp_path / "deaths").mkdir()

    def compare(*flags: str, **environment: str) -> subprocess.Popen[str]:
        paths = os.pathsep.join(map(str, (REPOSITORY / "tests" / "poison", REPOSITORY)))
        deaths = str(tmp_path / "deaths")
        return subprocess.Popen(
            [*COMMAND, str(features), str(tmp_path / "out"), *FLAGS, *flags],
            env={**os.environ, "PYTHONPATH": paths, "POISON_DEATHS": deaths, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return compare


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    text = process.communicate(timeout=300)[0]
    assert "Traceback" not in text
    assert "resource_tracker" not in text
    return process.returncode, text


def metrics_of(out: Path) -> dict[str, Any]:
    return {
        row["name"]: row["mean"] for row in pq.read_table(out / "leaderboard.parquet").to_pylist()
    }


@pytest.fixture(scope="module")
def whole(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same comparison without deaths."""
    folder = tmp_path_factory.mktemp("whole")
    assert main.main(["compare", str(features), str(folder), *FLAGS]) == 0
    return folder


def test_a_deadly_model_fails_alone_and_is_trained_later(
    start: Callable[..., Any], whole: Path, tmp_path: Path
) -> None:
    name = json.loads((whole / "manifest.json").read_text())["winner"]["name"]
    code, text = end(start("--workers", "2", POISON_MODEL=f"/{name}/"))
    assert code == 0, text
    assert f"{name} failed: a worker process was killed (out of memory?)" in text
    assert len(list((tmp_path / "deaths").iterdir())) == 2
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["failed"].keys() == {name}
    assert metrics_of(tmp_path / "out").keys() == metrics_of(whole).keys() - {name}
    code, text = end(start("--workers", "2"))
    assert code == 0, text
    assert metrics_of(tmp_path / "out") == metrics_of(whole)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["winner"]["name"] == name
    assert "failed" not in manifest


def test_with_one_worker_the_second_run_isolates_a_deadly_model(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    assert end(start("--workers", "1", POISON_MODEL="/concat/"))[0] == -9
    code, text = end(start("--workers", "1", POISON_MODEL="/concat/"))
    assert code == 0, text
    assert "concat failed: a worker process was killed" in text
    assert metrics_of(tmp_path / "out")


def test_killed_workers_cost_no_model(
    start: Callable[..., Any], whole: Path, tmp_path: Path
) -> None:
    process = start("--workers", "2")
    killed: set[int] = set()
    while process.poll() is None and len(killed) < 3:
        for worker in workers_of(process.pid):
            if worker.pid not in killed and len(killed) < 3:
                time.sleep(0.2 if killed else 0.02)
                if kill(worker):
                    killed.add(worker.pid)
                    COUNTS["killed workers"] += 1
    code, text = end(process)
    assert code == 0, text
    assert killed
    assert metrics_of(tmp_path / "out") == metrics_of(whole)


def test_a_killed_comparison_prints_no_error(start: Callable[..., Any], tmp_path: Path) -> None:
    process = start("--workers", "2")
    while not list((tmp_path / "out").glob("cells/*/*/cell.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    text = end(process)[1]
    assert "Traceback" not in text
    assert "Error" not in text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_whose_training_raises_an_error_fails_alone(
    start: Callable[..., Any], tmp_path: Path, workers: str
) -> None:
    poison = {"POISON_MODEL": "/concat/", "POISON_ERROR": "singular matrix"}
    code, text = end(start("--workers", workers, **poison))
    assert code == 0, text
    assert "mmfeat: concat failed: ArithmeticError: singular matrix. Run the same" in text
    assert "concat" not in metrics_of(tmp_path / "out")
    code, text = end(start("--workers", workers))
    assert code == 0, text
    assert "concat" in metrics_of(tmp_path / "out")


def test_a_comparison_of_which_every_model_fails_is_an_error(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    code, text = end(start("--workers", "2", POISON_MODEL="/", POISON_ERROR="singular matrix"))
    assert code == 1
    assert "models failed; finished trials are kept" in text
    assert not (tmp_path / "out" / "manifest.json").exists()
