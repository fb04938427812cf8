"""The engines that are compared: each starts its servers, and stops them."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.engines.install import install_program
from tests.engines.servers import FlinkCluster, flink_cluster, job_server

_LOOPBACK = ("--runner=Portable", "--environment_type=LOOPBACK")


@dataclass(frozen=True)
class Engine:
    """An engine that runs.

    Attributes:
        flags: flags of the stages.
        faults: stage → what to do to the engine in the middle of it.
    """

    flags: tuple[str, ...]
    faults: Mapping[str, Callable[[], None]] = field(default_factory=dict)


@contextmanager
def local(logs: Path) -> Iterator[Engine]:
    """The runner in the process of the command."""
    yield Engine(("--runner=local",))


@contextmanager
def embedded(logs: Path) -> Iterator[Engine]:
    """A job server in the process of the command."""
    yield Engine((*_LOOPBACK, "--job_endpoint=embed"))


@contextmanager
def prism(logs: Path) -> Iterator[Engine]:
    """Prism, which the command starts."""
    yield Engine(("--runner=Prism", f"--prism_location={install_program('prism')}"))


@contextmanager
def flink(logs: Path) -> Iterator[Engine]:
    """A cluster of Flink in the process of its job server."""
    with job_server("flink", "[local]", logs) as endpoint:
        yield Engine((*_LOOPBACK, f"--job_endpoint={endpoint}"))


@contextmanager
def spark(logs: Path) -> Iterator[Engine]:
    """Spark in the process of its job server."""
    with job_server("spark", "local[2]", logs) as endpoint:
        yield Engine((*_LOOPBACK, f"--job_endpoint={endpoint}"))


@contextmanager
def cluster(logs: Path) -> Iterator[Engine]:
    """Flink with two TaskManagers, which start processes for the code of mmfeat."""
    with _cluster(logs) as (_, flags):
        yield Engine(flags)


@contextmanager
def cluster_with_deaths(logs: Path) -> Iterator[Engine]:
    """The same. A TaskManager dies while shards are made, and a worker during extract."""
    with _cluster(logs) as (managers, flags):
        faults = {"shard": managers.replace_task_manager, "extract": managers.kill_worker}
        yield Engine(flags, faults)


@contextmanager
def cluster_with_boot(logs: Path) -> Iterator[Engine]:
    """The same, with the program of Beam that starts workers."""
    os.environ["WORKER_PYTHON"] = sys.executable  # for boot.sh
    os.environ["WORKER_BOOT"] = str(install_program("container"))
    with _cluster(logs, str(Path(__file__).parent / "boot.sh")) as (_, flags):
        yield Engine(flags)


@contextmanager
def _cluster(
    logs: Path, worker: str = str(Path(sys.executable).parent / "mmfeat-worker")
) -> Iterator[tuple[FlinkCluster, tuple[str, ...]]]:
    os.environ["PYTHONPATH"] = str(REPOSITORY)  # of the workers, which inherit it
    config = json.dumps({"command": worker})
    with ExitStack() as stack:
        managers = stack.enter_context(flink_cluster(logs))
        endpoint = stack.enter_context(job_server("flink", managers.master, logs))
        flags = ("--runner=Portable", f"--job_endpoint={endpoint}", "--parallelism=4")  # all slots
        workers = ("--environment_type=PROCESS", f"--environment_config={config}")
        yield managers, (*flags, *workers, "--engine_timeout=300")


ROWS = {
    "local": local,
    "portable, in this process": embedded,
    "Prism": prism,
    "Flink": flink,
    "Spark": spark,
    "Flink cluster": cluster,
    "Flink cluster, deaths": cluster_with_deaths,
    "Flink cluster, boot of Beam": cluster_with_boot,
}

DEFAULT = [name for name in ROWS if "boot" not in name]
"""All but a row that shows what the own worker program of mmfeat saves."""
