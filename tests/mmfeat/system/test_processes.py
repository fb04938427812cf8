import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest

from mmfeat.system.memory import peak_memory_mb
from tests.programs import run_python


def test_peak_memory_counts_this_process_and_its_whole_life():
    array = np.ones(60_000_000)
    assert peak_memory_mb() > 480
    del array
    assert peak_memory_mb() > 480
    program = "from mmfeat.system.memory import peak_memory_mb; print(peak_memory_mb())"
    assert 0 < float(run_python(program)) < 200


POOL = """
import os, time
from mmfeat.system.processes import worker_pool

with worker_pool(1, preload=[]) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_workers_end_when_the_main_process_is_killed():
    command = [sys.executable, "-c", POOL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ})
    worker = psutil.Process(int(process.stdout.readline()))
    process.kill()
    assert not psutil.wait_procs([worker], timeout=30)[1]
    process.communicate()


WORKER_SETUP = """
import logging, os
from mmfeat.system.processes import worker_pool

with worker_pool(1, preload=[], initializer=os.chdir, initargs=("/",)) as pool:
    print(pool.submit(os.getcwd).result())
    print(pool.submit(logging.getLogger("mmfeat").isEnabledFor, logging.DEBUG).result())
"""


def test_workers_run_the_initializer_and_log_like_the_main_process():
    for level, logs_debug in (("debug", "True"), ("error", "False")):
        assert run_python(WORKER_SETUP, MMFEAT_LOG=level).split() == ["/", logs_debug]


DEATHS = """
import os, signal
from mmfeat.errors import MmfeatError
from mmfeat.system import worker_pool

class Unreadable:
    "Its bytes need a module that the worker cannot import."
    def __reduce__(self):
        return exec, ("import a_missing_module",)

def death(task, *arguments, **options):
    with worker_pool(2, preload=[], **options) as pool:
        try:
            pool.submit(task, *arguments).result()
        except MmfeatError as error:
            print(type(error).__name__, error, getattr(error, "killed", None), sep="|")

def main():
    death(print, Unreadable())
    death(print, initializer=print, initargs=(Unreadable(),))
    death(print, initializer=int, initargs=("x",))
    death(print, initializer=os._exit, initargs=(3,))
    death(signal.raise_signal, signal.SIGKILL)
    death(signal.raise_signal, signal.SIGSEGV)
    death(signal.raise_signal, signal.SIGTERM)
    death(os._exit, 3)
"""


def run_program(folder, program, **environment):
    """Run a program as a module, which workers can import."""
    (folder / "program.py").write_text(program)
    return subprocess.run(
        [sys.executable, "-c", "import program; program.main()"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
    )


def test_a_dead_worker_is_reported_with_its_own_error(tmp_path):
    result = run_program(tmp_path, DEATHS)
    failed = "a worker process failed:"
    missing = f"{failed} ModuleNotFoundError: No module named 'a_missing_module'"
    ended = "a worker process ended with exit code 3; an error stands above"
    assert result.stdout.splitlines() == [
        f"WorkerDiedError|{missing}|False",
        f"WorkerStartError|{missing}|None",
        f"WorkerStartError|{failed} ValueError: invalid literal for int() with base 10: 'x'|None",
        f"WorkerStartError|{ended}|None",
        "WorkerDiedError|a worker process was killed (out of memory?)|True",
        "WorkerDiedError|a worker process was ended by the signal SIGSEGV|False",
        "WorkerDiedError|a worker process was ended by the signal SIGTERM|False",
        f"WorkerDiedError|{ended}|False",
    ]
    assert "Traceback" not in result.stderr


SURVIVORS = """
import os, signal, time
from mmfeat.system import WorkerDiedError, worker_pool

def task(number):
    if number % 5 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return number

def main():
    with worker_pool(2, preload=[]) as pool:
        for future in [pool.submit(task, number) for number in range(20)]:
            try:
                print(future.result())
            except WorkerDiedError:
                print("died")
"""


def test_a_dead_worker_fails_only_its_own_task(tmp_path):
    results = run_program(tmp_path, SURVIVORS).stdout.split()
    assert results == [str(n) if n % 5 else "died" for n in range(20)]


SERVER_DIES = """
import os, signal, time
from multiprocessing import forkserver
from mmfeat.system import WorkerDiedError, worker_pool

def task(number):
    time.sleep(0.02)
    return number

def main():
    with worker_pool(2, preload=[]) as pool:
        futures = [pool.submit(task, number) for number in range(30)]
        futures[3].result()
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    print(sum(isinstance(future.exception(), WorkerDiedError) for future in futures))
    print(sum(future.exception() is None for future in futures))
"""


def test_a_killed_server_of_workers_is_started_again(tmp_path):
    died, done = map(int, run_program(tmp_path, SERVER_DIES).stdout.split())
    assert died <= 2
    assert died + done == 30


FIRST_PROCESS_DIES = """
import os, signal, sys
from mmfeat.system import worker_pool

def start(folder, device):
    global number
    number = sum(1 for _ in os.scandir(folder))
    open(os.path.join(folder, str(os.getpid())), "w").close()
    if number < 2:
        os.kill(os.getpid(), signal.SIGKILL)
    print("device", device, flush=True)

def task():
    return number

def main():
    os.mkdir("starts")
    with worker_pool(
        1, preload=[], initializer=start, initargs=("starts",), worker_initargs=[("cuda:7",)]
    ) as pool:
        print("ready after", pool.submit(task).result(), "deaths")
"""


def test_a_worker_killed_before_it_is_ready_is_started_again(tmp_path):
    output = run_program(tmp_path, FIRST_PROCESS_DIES).stdout
    assert output.splitlines() == ["device cuda:7", "ready after 2 deaths"]


WORKER_PER_TASK = """
import os
from mmfeat.system import worker_pool

def task(number):
    if number == 1:
        os._exit(1)
    if number == 2:
        raise ValueError
    return os.getpid()

def main():
    with worker_pool(1, preload=[], worker_per_task=True) as pool:
        futures = [pool.submit(task, number) for number in range(6)]
    print(len({f.result() for f in futures if not f.exception()}))
"""


def test_each_task_gets_a_process_on_request(tmp_path):
    assert run_program(tmp_path, WORKER_PER_TASK).stdout.split() == ["4"]


KILLED_MAIN = """
import os, signal, time
from mmfeat.system import worker_pool

with worker_pool(1, preload=[]) as pool:
    pool.submit(os.getpid).result()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_main_process_leaves_no_warning():
    command = [sys.executable, "-c", KILLED_MAIN]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL
    assert result.stderr == ""


KILL = """
import time
from mmfeat.system import worker_pool

def task():
    time.sleep(600)

def main():
    with worker_pool(2, preload=[]) as pool:
        futures = [pool.submit(task) for _ in range(5)]
        while not all(future.running() for future in futures[:2]):
            time.sleep(0.01)
        time.sleep(DELAY)
        pool.kill()
        print([future.cancelled() or type(future.exception()).__name__ for future in futures])

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("delay", [0, 2])
def test_a_killed_pool_ends_its_tasks_at_once(tmp_path, delay):
    """Without a delay, the workers are still starting."""
    ended = run_program(tmp_path, KILL.replace("DELAY", str(delay)))
    names = ["WorkerDiedError"] * 2 + [True] * 3
    assert ended.stdout.strip() == str(names), ended.stderr
    assert ended.stderr == ""
