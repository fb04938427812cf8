"""Ctrl-C at any moment of a command: one line, no traceback, and the next run finishes the work."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmfeat.store import MANIFEST_FILE
from tests.conftest import REPOSITORY

MOMENTS = 4
"""Signals per command, at random times of equal parts of its duration."""

LINE = "mmfeat: interrupted. Run the same command again to continue"


def start(*arguments):
    """Start a command in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "mmfeat", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
        # A shell starts background jobs, such as these tests, with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until_prepared(process):
    """Wait until mmfeat handles signals. Until then, they are Python's, which no code can change.

    Python itself leaves SIGTERM alone.
    """
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & (1 << signal.SIGTERM - 1):
            return
        time.sleep(0.005)


def interrupt(arguments, seconds):
    """Send the signal of Ctrl-C after some seconds; return the exit code and the errors."""
    process = start(*arguments)
    wait_until_prepared(process)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("command", ["shard", "train", "quickstart"])
def test_ctrl_c_ends_a_command_with_one_line_at_any_moment(mmfeat, toy_table, tmp_path, command):
    output = tmp_path / "out"
    if command == "train":
        mmfeat("shard", toy_table, tmp_path / "shards")
        mmfeat("extract", tmp_path / "shards", tmp_path / "features")
    arguments = {
        "shard": ("shard", toy_table, output, "--samples-per-shard", 6, "--processes", 2),
        "train": ("train", tmp_path / "features", output, "--target", "label", "--epochs", 3),
        "quickstart": ("quickstart", "--output", output, "--records", 120),
    }[command]
    began = time.monotonic()
    whole = start(
        *arguments[:1], *(f"{word}-whole" if word == output else word for word in arguments[1:])
    )
    assert whole.communicate()[1].count("Traceback") == 0
    duration = time.monotonic() - began
    rng = random.Random(7)
    for moment in range(MOMENTS):
        code, errors = interrupt(arguments, duration * (moment + rng.random()) / MOMENTS)
        assert "Traceback" not in errors
        assert "resource_tracker" not in errors
        assert code in (0, 130, -signal.SIGINT), errors  # at the very end, Python lets it end so
        if code == 130:
            assert errors.splitlines()[-1] == LINE
    assert mmfeat(*arguments).returncode == 0
    assert (output / MANIFEST_FILE).exists()
