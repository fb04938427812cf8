"""Start and stop the servers of engines on this machine: job servers and a cluster of Flink."""

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import psutil

from tests.engines.install import install_jars

_START_SECONDS = 180.0

_OPEN_PACKAGES = (
    *("java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.net", "java.nio"),
    *("java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic"),
    *("sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"),
)
"""Packages of Java that Flink and Spark look into."""

_JAVA = [
    "java",
    "-Xmx1g",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPEN_PACKAGES),
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
]

_TASK_MANAGER = {
    "taskmanager.cpu.cores": "2.0",
    "taskmanager.memory.task.heap.size": "512m",
    "taskmanager.memory.task.off-heap.size": "0b",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
"""Sizes that a TaskManager which is started without Flink's scripts must be told."""

_CLUSTER = {
    "jobmanager.rpc.address": "localhost",
    "jobmanager.memory.process.size": "1024m",
    "jobmanager.execution.failover-strategy": "region",
    "taskmanager.numberOfTaskSlots": "2",
    "taskmanager.host": "localhost",
    "rest.address": "localhost",
    "heartbeat.interval": "1000",
    "heartbeat.timeout": "8000",
    "classloader.resolve-order": "parent-first",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "3",
    "restart-strategy.fixed-delay.delay": "2 s",
}


def free_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


@contextmanager
def job_server(engine: str, master: str, logs: Path) -> Iterator[str]:
    """Run a job server of Beam; yield its address.

    Args:
        engine: `flink` or `spark`.
        master: its cluster: `[local]`, `local[2]` or `HOST:PORT`.
        logs: folder of the log.
    """
    port = free_port()
    driver = f"org.apache.beam.runners.{engine}.{engine.capitalize()}JobServerDriver"
    option = {"flink": "--flink-master", "spark": "--spark-master-url"}[engine]
    arguments = [f"{option}={master}", "--job-host=localhost", f"--job-port={port}"]
    ports = ["--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={logs / 'artifacts'}"]
    jars = install_jars(engine)
    with _process([*_JAVA, driver, *arguments, *ports], jars, logs / f"{engine}.log") as process:
        _wait_for(port, process, logs / f"{engine}.log")
        yield f"localhost:{port}"


class FlinkCluster:
    """A JobManager and two TaskManagers of two slots each.

    Args:
        logs: folder of the logs.
        stack: ends the processes.
    """

    def __init__(self, logs: Path, stack: ExitStack) -> None:
        self._logs, self._stack = logs, stack
        self._jars = install_jars("flink")
        self._rpc, self._rest = free_port(), free_port()
        self._config = logs / "config"
        self._config.mkdir(parents=True)
        settings = _CLUSTER | {"jobmanager.rpc.port": self._rpc, "rest.port": self._rest}
        lines = [f"{name}: {value}\n" for name, value in settings.items()]
        (self._config / "config.yaml").write_text("".join(lines), encoding="utf-8")
        manager = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        process = self._start("manager", manager)
        _wait_for(self._rest, process, logs / "manager.log")
        self._workers = [self.start_task_manager(number) for number in (1, 2)]
        self._wait_for_slots()

    def _wait_for_slots(self) -> None:
        """Wait until all TaskManagers are registered. One that has not started is started again.

        Raises:
            RuntimeError: they do not start.
        """
        end = time.monotonic() + 2 * _START_SECONDS
        while time.monotonic() < end:
            with suppress(OSError), urlopen(f"http://{self.master}/overview", timeout=10) as page:
                if json.load(page)["slots-total"] == 2 * len(self._workers):
                    return
            for number, worker in enumerate(self._workers):
                if worker.poll() is not None:
                    self._workers[number] = self.start_task_manager(number + 1)
            time.sleep(0.5)
        raise RuntimeError(f"the TaskManagers have not started; see {self._logs}")

    @property
    def master(self) -> str:
        """`HOST:PORT` of the cluster."""
        return f"localhost:{self._rest}"

    def start_task_manager(self, number: int) -> "subprocess.Popen[bytes]":
        """Start a TaskManager."""
        settings = _TASK_MANAGER | {"taskmanager.resource-id": f"tm{number}"}
        flags = [word for name, value in settings.items() for word in ("-D", f"{name}={value}")]
        runner = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        return self._start(f"worker{number}", runner, *flags)

    def replace_task_manager(self) -> None:
        """Kill a TaskManager as a machine that fails would, and start another one."""
        self._workers[0].kill()
        time.sleep(3)
        self._workers[0] = self.start_task_manager(3)

    def kill_worker(self) -> None:
        """Kill one of the Python processes in which TaskManagers run the code of mmfeat."""
        for manager in self._workers:
            for process in psutil.Process(manager.pid).children(recursive=True):
                if "mmfeat-worker" in " ".join(process.cmdline()):
                    process.kill()
                    return

    def _start(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [*_JAVA, *arguments, "--configDir", str(self._config)]
        log = self._logs / f"{name}.log"
        return self._stack.enter_context(_process(command, self._jars, log))


@contextmanager
def flink_cluster(logs: Path) -> Iterator[FlinkCluster]:
    """Run a cluster of Flink."""
    with ExitStack() as stack:
        yield FlinkCluster(logs, stack)


@contextmanager
def _process(command: list[str], jars: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a Java program while the block runs."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CLASSPATH": f"{jars}/*"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command[:1], f"-Djava.io.tmpdir={tempfile.gettempdir()}", *command[1:]],
            cwd=log.parent,  # the boot program writes a file there
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a server listens.

    Raises:
        RuntimeError: it does not.
    """
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as client:
            if not client.connect_ex(("localhost", port)):
                return
        time.sleep(0.2)
    raise RuntimeError(f"a server has not started; see {log}")
