import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import run_python

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "apache_beam", "matplotlib", "sklearn")


def heavy_modules_after(statement):
    code = f"{statement}; import sys; print(*sorted(m for m in {HEAVY!r} if m in sys.modules))"
    return run_python(code).split()


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


def source_files():
    for root in ("mmfeat", "pipelines", "training"):
        yield from (REPOSITORY / root).rglob("*.py")


FACADES = (
    *("mmfeat.config", "mmfeat.extraction", "mmfeat.features", "mmfeat.media", "mmfeat.records"),
    *("mmfeat.scoring", "mmfeat.sharding", "mmfeat.shards", "mmfeat.sources", "mmfeat.store"),
    *("mmfeat.system", "mmfeat.verification", "training.data", "training.metrics"),
)
"""Packages that export their public names. Others have modules that load torch."""


@pytest.mark.parametrize("package", FACADES)
def test_other_packages_import_public_names_from_the_package(package):
    strangers = []
    for path in (
        p
        for root in ("mmfeat", "pipelines", "training")
        for p in Path(REPOSITORY, root).rglob("*.py")
    ):
        if package.replace(".", "/") + "/" in path.as_posix():
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
                strangers.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.module}")
    assert strangers == []
