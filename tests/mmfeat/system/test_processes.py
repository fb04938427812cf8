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
