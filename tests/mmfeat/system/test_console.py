"""What is told of a process."""

import subprocess
import sys

import numpy as np

from mmfeat.system.console import peak_memory_mb


def test_the_peak_of_memory_counts_this_process_alone_and_all_its_life():
    big = np.ones(60_000_000)
    assert peak_memory_mb() > 480
    del big
    assert peak_memory_mb() > 480
    program = "from mmfeat.system.console import peak_memory_mb; print(peak_memory_mb())"
    started = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 0 < float(started.stdout) < 200
