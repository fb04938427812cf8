import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "apache_beam", "matplotlib", "sklearn")


def loaded_by(statement):
    code = f"{statement}; import sys; print(*sorted(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    "module",
    ["mmfeat", "mmfeat.cli.main", "mmfeat.features.store", "mmfeat.sharding.stage",
     "mmfeat.extraction.stage",
     "mmfeat.scoring.stage", "pipelines.shard", "pipelines.extract",
     "pipelines.score", "mmfeat.cli.info"],
)  # fmt: skip
def test_what_everyone_imports_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}") == []


def test_imports_run_one_way():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
