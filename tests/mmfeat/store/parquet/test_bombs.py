"""Small files of a store that would use all memory are refused before they are decoded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mmfeat.store.parquet.bombs import BOMBS

_TIMEOUT = 600
"""Seconds that catch a hang; a file takes a second or two."""

_MAX_BYTES = 100 << 20
"""Memory that a file may use."""

EXPECTED = {
    "compressed column.arrow": "must be an uncompressed Arrow file",
    "deep column.arrow": "must be a valid Arrow file",
    "many rows.parquet": "it has 134,217,729 rows, more than 134,217,728",
    "more rows than known.parquet": "must be a table of 10 rows; got '16,777,216 rows'",
    "repeated text.parquet": "its column 'text' has more than 4,294,967,296 bytes",
    "repeated text in batches.parquet": "its column 'text' has more than 4,294,967,296 bytes",
    "deep schema.parquet": "its schema has 100,000 levels, more than 100",
    "deep input.parquet": "its schema has 100,000 levels, more than 100",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Name → the error of each file, and the memory that reading it took."""
    folder = str(tmp_path_factory.mktemp("bombs"))
    command = [sys.executable, "-m", "tests.mmfeat.store.parquet.bombs", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peaks from Linux")
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_is_refused_with_little_memory(outcomes, name):
    error, used = outcomes[name]
    assert EXPECTED[name] in error
    assert used < _MAX_BYTES
