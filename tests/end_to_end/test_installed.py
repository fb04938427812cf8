"""mmfeat as users have it: installed by pip, run in a folder with packages of the same names."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from shutil import copytree

import pyarrow.parquet as pq
import pytest

from mmfeat.store import read_manifest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("mmfeat", "pipelines", "training")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
SCRIPT = """#!{}
import sys
from mmfeat.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""
HOSTILE = 'raise SystemExit("the package of the user was imported")\n'
"""The content of the user's own packages."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the sources, in a folder named `mmfeat` like a clone."""
    folder = tmp_path_factory.mktemp("parent") / "mmfeat"
    for name in PACKAGES:
        copytree(REPOSITORY / name, folder / name)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (folder / name).write_bytes((REPOSITORY / name).read_bytes())
    return folder


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request, clone, tmp_path_factory):
    """The folder of the programs `python` and `mmfeat`, of a new environment without the clone."""
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run(
        [sys.executable, "-c", BUILD.format(request.param), folder / "wheel"],
        cwd=clone, check=True, capture_output=True,
    )  # fmt: skip
    venv.create(folder / "venv")
    programs, packages = folder / "venv/bin", next(folder.glob("venv/lib/python*/site-packages"))
    zipfile.ZipFile(next((folder / "wheel").glob("*.whl"))).extractall(packages)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (programs / "mmfeat").write_text(SCRIPT.format(programs / "python"))
    (programs / "mmfeat").chmod(0o755)
    return programs


@pytest.fixture
def user_folder(toy_table):
    """A folder of records, with packages of the user that have the names of mmfeat's."""
    folder = toy_table.parent
    for name in ("pipelines", "training", "yaml"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(HOSTILE)
    return folder


def run(folder, *command, **environment):
    return subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def succeed(folder, *command):
    result = run(folder, *command)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "of the user" not in result.stderr
    return result


@pytest.mark.slow
def test_no_command_imports_the_packages_of_the_user(installed, user_folder):
    mmfeat, shard = installed / "mmfeat", ("--processes", 2, "--samples-per-shard", 20)
    result = succeed(user_folder, mmfeat, "shard", "table.csv", "shards", *shard)
    assert "largest worker" in result.stdout
    succeed(user_folder, mmfeat, "extract", "shards", "features")
    quick = ("--fusions", "sum", "--seeds", 1, "--epochs", 1, "--lr", 0.01, "--workers", 2)
    target = ("--target", "label", "--emap-rows", 4)
    succeed(user_folder, mmfeat, "compare", "features", "comparison", *target, *quick)
    leaderboard = pq.read_table(user_folder / "comparison" / "leaderboard.parquet").to_pylist()
    assert {"image", "text", "sum"} <= {row["name"] for row in leaderboard}


@pytest.mark.slow
def test_an_editable_install_runs_beside_its_clone(installed, clone, toy_table, tmp_path):
    """There, Python finds the clone itself as a package `mmfeat` without content."""
    output = tmp_path / "shards"
    arguments = ("--processes", 2, "--samples-per-shard", 20)
    program = installed / "mmfeat"
    result = succeed(clone.parent, program, "shard", toy_table, output, *arguments)
    assert "largest worker" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["wheel"], indirect=True)
@pytest.mark.parametrize(
    "module", [("mmfeat", "shard"), ("pipelines.shard",)], ids=lambda words: words[0]
)
def test_a_module_does_not_import_from_the_working_directory(installed, toy_table, module):
    folder = toy_table.parent
    # The package that `python -m` is told to run is that of the working directory, if there is one.
    for name in {"pipelines", "training", "yaml"} - {module[0].partition(".")[0]}:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(HOSTILE)
    arguments = ("table.csv", "shards", "--samples-per-shard", 30, "--processes", 2)
    succeed(folder, installed / "python", "-m", *module, *arguments)
    assert read_manifest(str(folder / "shards"), "shards")["totals"]["status"] == {"ok": 60}


def test_a_package_of_the_user_on_pythonpath_is_named(installed, user_folder):
    result = run(user_folder, installed / "mmfeat", "train", "f", "m", "--target", "label",
                 PYTHONPATH=str(user_folder))  # fmt: skip
    assert result.returncode == 1
    assert f"got '{user_folder / 'training'}'" in result.stderr
    assert "PYTHONPATH" in result.stderr
