import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "apache_beam", "matplotlib", "sklearn")


def heavy_modules_after(statement):
    code = f"{statement}; import sys; print(*sorted(m for m in {HEAVY!r} if m in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return result.stdout.split()


@pytest.mark.parametrize(
    "module",
    ["mmfeat", "mmfeat.cli.main", "mmfeat.features.store", "mmfeat.sharding.stage",
     "mmfeat.extraction.stage",
     "mmfeat.scoring.stage", "pipelines.shard", "pipelines.extract",
     "pipelines.score", "mmfeat.cli.info"],
)  # fmt: skip
def test_light_modules_load_nothing_heavy(module):
    assert heavy_modules_after(f"import {module}") == []


def test_imports_follow_the_layers():
    command = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([command], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout
