import os
import subprocess
import sys

import numpy as np
import psutil

from mmfeat.system.processes import peak_memory_mb


def test_peak_memory_counts_this_process_and_its_whole_life():
    array = np.ones(60_000_000)
    assert peak_memory_mb() > 480
    del array
    assert peak_memory_mb() > 480
    program = "from mmfeat.system.processes import peak_memory_mb; print(peak_memory_mb())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 0 < float(result.stdout) < 200


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
        result = subprocess.run(
            [sys.executable, "-c", WORKER_SETUP],
            env={**os.environ, "MMFEAT_LOG": level},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split() == ["/", logs_debug]


DEATHS = """
import os, signal
from concurrent.futures.process import BrokenProcessPool
from mmfeat.system import worker_pool

class Unreadable:
    "Its bytes need a module that the worker cannot import."
    def __reduce__(self):
        return exec, ("import a_missing_module",)

def death(task, *arguments, **options):
    with worker_pool(2, preload=[], **options) as pool:
        future = pool.submit(task, *arguments)
        try:
            future.result()
        except BrokenProcessPool:
            print(*pool.worker_death(), sep="|")

if __name__ == "__main__":
    death(print, Unreadable())
    death(print, initializer=print, initargs=(Unreadable(),))
    death(print, initializer=int, initargs=("x",))
    death(signal.raise_signal, signal.SIGKILL)
    death(signal.raise_signal, signal.SIGSEGV)
    death(os._exit, 3)
"""


def test_a_dead_worker_is_reported_with_its_own_error(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(DEATHS)
    result = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    missing = "a worker process failed: ModuleNotFoundError: No module named 'a_missing_module'"
    assert result.stdout.splitlines() == [
        f"{missing}|False",
        f"{missing}|False",
        "a worker process failed: ValueError: invalid literal for int() with base 10: 'x'|False",
        "a worker process was killed (out of memory?)|True",
        "a worker process was ended by the signal SIGSEGV|False",
        "a worker process ended with exit code 3; an error stands above|False",
    ]
    assert "Traceback" not in result.stderr


SAFE_PATH = """
import os, sys
from mmfeat.system import worker_pool

def import_path():
    return [os.path.abspath(path) for path in sys.path], sys.flags.safe_path

if __name__ == "__main__":
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    with worker_pool(1, preload=[]) as pool:
        path, safe = pool.submit(import_path).result()
    print(os.getcwd() in path, safe, os.environ["KEPT"] in path, "PYTHONSAFEPATH" in os.environ)
"""


def test_workers_do_not_import_from_the_working_directory_but_from_pythonpath(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SAFE_PATH)
    kept = str(tmp_path / "kept")
    result = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": kept, "KEPT": kept},
    )  # fmt: skip
    assert result.stdout.split() == ["False", "True", "True", "False"]
