"""Tables are read in the thread of the caller."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_READ = """
import sys, psutil
from mmfeat.store import iter_parquet, read_parquet

path, function = sys.argv[1:]
process = psutil.Process()
before = process.num_threads()
with open(path, "rb") as file:
    table = {"read": read_parquet, "iterate": lambda *a, **k: [*iter_parquet(*a, **k)]}[function](
        path, file=file
    )
print(process.num_threads() - before)
"""


@pytest.mark.parametrize("function", ["read", "iterate"])
def test_reading_starts_no_threads(tmp_path, function):
    """A thread of Arrow that still has bytes of Python aborts a process that ends meanwhile."""
    path = tmp_path / "t.parquet"
    columns = {f"c{n}": [f"text {n} {row}" for row in range(2000)] for n in range(16)}
    pq.write_table(pa.table(columns), path)
    program = [sys.executable, "-c", _READ, str(path), function]
    result = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout.strip()) == (0, "0"), result.stderr
