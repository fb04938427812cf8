import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.programs import run_python
from tests.training.stores import Records, write_store

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


MISTYPED = [
    ("shard", "{0}/itms.csv", "{0}/out"),
    ("shard", "{0}/items.csv", "{0}/out", "--image-column", "pictur"),
    ("shard", "{0}/items.csv", "{0}/out", "--keys", "{0}/kys.txt"),
    ("extract", "{0}/featurs", "{0}/out"),
    ("train", "{0}/featurs", "{0}/out", "--target", "label"),
    ("train", "{0}/features", "{0}/out", "--target", "labl"),
    ("train", "{0}/features", "{0}/out", "--target", "label", "--modalities", "imge"),
    ("train", "{0}/features", "{0}/out", "--target", "label", "--split-column", "splt"),
    ("train", "{0}/features", "{0}/out", "--target", "label", "--fusion", "gmuu"),
    ("train", "{0}/features", "{0}/out", "--target", "label", "--combination", "mpl"),
    ("shard", "{0}/items.csv", "{0}/out", "--where", "text ="),
    ("compare", "{0}/features", "{0}/out", "--target", "label", "--fusions", "gmu,cat"),
    ("compare", "{0}/featurs", "{0}/out", "--target", "label"),
    ("compare", "{0}/features", "{0}/out", "--target", "labl"),
    ("evaluate", "{0}/featurs", "{0}/features"),
    ("score", "{0}/featurs", "{0}/features", "{0}/out"),
    ("align-report", "{0}/featurs", "{0}/features", "{0}/out"),
    ("export", "{0}/featurs", "{0}/out"),
    ("export", "{0}/features", "{0}/out", "--modalities", "imge"),
    ("search", "{0}/featurs", "--like", "1"),
    ("dedup", "{0}/featurs", "{0}/out"),
    ("audit", "{0}/featurs", "{0}/out", "--target", "label"),
    ("audit", "{0}/features", "{0}/out", "--target", "labl"),
    ("report", "{0}/featurs"),
    ("info", "{0}/featurs"),
    ("verify", "{0}/featurs"),
]


@pytest.mark.parametrize("command", MISTYPED, ids=" ".join)
def test_a_mistyped_name_is_found_before_slow_imports(command, tmp_path):
    (tmp_path / "items.csv").write_text("picture,text\na.png,one\n")
    (tmp_path / "keys.txt").write_text("1\n")
    write_small_features(tmp_path / "features")
    arguments = [word.format(tmp_path) for word in command]
    code = (
        "import sys, mmfeat.cli.main as command; code = command.main(sys.argv[1:]); "
        f"print(code, *sorted(m for m in {HEAVY!r} if m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.stdout == "1\n", result.stderr
    assert result.stderr.count("mmfeat: error") == 1
    assert not (tmp_path / "out").exists()
    if "featurs" in arguments[1]:
        assert f"Did you mean '{tmp_path}/features'?" in result.stderr


def write_small_features(folder):
    values = np.ones((20, 4), np.float16)
    metadata = {
        "__key__": [str(i) for i in range(20)],
        "label": ["cat", "dog"] * 10,
        "split": ["train", "val"] * 10,
    }
    write_store(str(folder), Records({"image": values, "text": values}, metadata))


def test_imports_follow_the_layers():
    command = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([command], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def source_files():
    for root in ("mmfeat", "pipelines", "training"):
        yield from (REPOSITORY / root).rglob("*.py")


def test_a_finished_store_needs_no_beam(tmp_path):
    (tmp_path / "items.csv").write_text("text,label\none,a\ntwo,b\n")
    command = ["shard", str(tmp_path / "items.csv"), str(tmp_path / "out")]
    code = (
        "import sys, mmfeat.cli.main as command; code = command.main(sys.argv[1:]); "
        f"print(code, *sorted(m for m in {HEAVY!r} if m in sys.modules))"
    )
    for expected in ("0 apache_beam", "0"):
        result = subprocess.run(
            [sys.executable, "-c", code, *command], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert result.stdout.splitlines()[-1] == expected, result.stderr
    assert "nothing to do" in result.stdout
    assert "rejected" in result.stdout


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
