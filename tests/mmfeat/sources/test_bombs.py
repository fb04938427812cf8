"""Small files that would use all memory are read with little."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mmfeat.sources.bombs import BOMBS, write_bomb

_TIMEOUT = 600
"""Seconds that catch a hang; a file takes a second or two."""

_MAX_BYTES = 700 << 20
"""Memory that a file may use: the csv module needs several times that of its largest cell."""

ONE_TOO_LARGE = {":too_large": 1, "ok": 1}

EXPECTED = {
    "brackets": "the file ends inside a value",
    "objects": "the file ends inside a value",
    "deep value": {":malformed_row": 1, "ok": 1},
    "deep value in lines": {":malformed_row": 1, "ok": 1},
    "500 levels": {"json:too_large": 1, "ok": 1},
    "columns": "must have at most 10,000 columns; got 100001",
    "columns in lines": "must have at most 10,000 columns; got 100001",
    "columns of their own": "must have at most 10,000 columns; got 10001",
    "columns in parquet": "must have at most 10,000 columns; got 10001",
    "header": "its header has more than 1,048,576 characters",
    "cell": ONE_TOO_LARGE,
    "quoted cell": ONE_TOO_LARGE,
    "cell in tsv": ONE_TOO_LARGE,
    "cell in lines": ONE_TOO_LARGE,
    "cell in json": ONE_TOO_LARGE,
    "empty lists": ONE_TOO_LARGE,
    "quotes": {"ok": 200_000},
    "dictionary": {"ok": 1000},
    "cell in parquet": ONE_TOO_LARGE,
    "list in parquet": ONE_TOO_LARGE,
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Name → what came of the records of each file, and memory; one process reads all."""
    folder = tmp_path_factory.mktemp("bombs")
    command = [sys.executable, "-m", "tests.mmfeat.sources.bombs"]
    command += [str(write_bomb(folder, name)) for name in BOMBS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(BOMBS, json.loads(done.stdout), strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peaks from Linux")
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_does_not_use_all_memory(outcomes, name):
    (outcome, used), expected = outcomes[name], EXPECTED[name]
    assert used < _MAX_BYTES
    if isinstance(expected, str):
        assert isinstance(outcome, str)
        assert expected in outcome
    else:
        assert outcome == expected
