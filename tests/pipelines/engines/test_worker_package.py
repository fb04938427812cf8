"""A worker that has mmfeat from the source archive that `--setup_file` sends."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.pipelines.conftest import run_worker_pool

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The source archive of this clone."""
    folder = tmp_path_factory.mktemp("archive")
    clone = folder / "clone"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "tests", "benchmarks")
    shutil.copytree(REPOSITORY, clone, ignore=ignored)
    subprocess.run([sys.executable, "-c", BUILD, folder], cwd=clone, check=True)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def environment(archive, tmp_path_factory):
    """A new environment in which the archive is installed; the folder of its programs."""
    folder = tmp_path_factory.mktemp("worker")
    venv.create(folder / "venv")
    programs = folder / "venv" / "bin"
    packages = next(folder.glob("venv/lib/python*/site-packages"))
    # Its dependencies are those of the tests, which nobody has to download.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--offline")
    uv = Path(sys.executable).parent / "uv"
    subprocess.run(
        [uv, "pip", "install", "--python", programs / "python", *flags, archive], check=True
    )
    show = "import mmfeat, pipelines.transforms as t; print(mmfeat.__file__, t.__file__)"
    done = subprocess.run(
        [programs / "python", "-c", show], cwd=folder, capture_output=True, text=True, check=True
    )
    assert all(Path(path).is_relative_to(packages) for path in done.stdout.split())
    return programs


def test_the_archive_has_the_versions_to_install(archive):
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"constraints.txt", "constraints-build.txt", "pyproject.toml"} <= names
    assert {"pipelines/transforms.py", "mmfeat/sharding/stage.py"} <= names


@pytest.mark.slow
def test_a_worker_runs_bundles_from_the_archive(environment, mmfeat, toy_table, tmp_path):
    with run_worker_pool(environment) as address:
        flags = ("--runner=Portable", "--job_endpoint=embed", "--environment_type=EXTERNAL")
        pool = f"--environment_config={address}"
        result = mmfeat("shard", toy_table, tmp_path / "out", *flags, pool)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "manifest.json").exists()
