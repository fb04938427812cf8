"""Damaged and hostile column files never crash the process; they are refused with their name."""

import ast
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.features.column_format import FeatureShape, column_schema
from mmfeat.features.column_reader import read_column_file, read_reasons
from tests.figures import COUNTS
from tests.mmfeat.features.test_store import write_column

REPOSITORY = Path(__file__).parents[3]
SHAPE = FeatureShape(3)


def test_no_mutant_of_a_column_crashes_the_process(tmp_path):
    command = [sys.executable, "-m", "tests.mmfeat.features.column_mutants", str(tmp_path), "900"]
    result = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr[-2000:]
    results = ast.literal_eval(result.stdout)
    assert results["refused"] > 300
    assert sum(results.values()) == 900
    COUNTS["damaged columns"] += 900


@pytest.mark.parametrize(
    "other", [FeatureShape(4), FeatureShape(3, "float32"), FeatureShape(3, max_tokens=2)]
)
def test_a_column_of_another_shape_is_refused(tmp_path, other):
    path = str(tmp_path / "00000.arrow")
    info = write_column(path, [], other)
    with pytest.raises(DamagedFileError, match=r"00000\.arrow must be an Arrow file of feature: "):
        read_column_file(path, info, SHAPE)


@pytest.mark.parametrize("drop", ["reason", "status"])
def test_a_column_without_a_field_is_refused(tmp_path, drop):
    path = str(tmp_path / "00000.arrow")
    table = column_schema(SHAPE).empty_table().drop_columns([drop])
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DamagedFileError, match=r"00000\.arrow must be "):
        read_reasons(path)
