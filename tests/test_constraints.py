"""Pinned versions and hashes: everything is pinned, and a file with another hash is refused."""

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

UV = Path(sys.executable).with_name("uv")
FILES = ("constraints.txt", "constraints-build.txt")


def read_pins(name):
    """Return the requirements of a file, each with its hashes."""
    text = (REPOSITORY / name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    parts = [line.partition(" --hash=") for line in lines]
    return [(Requirement(pin), re.findall(r"sha256:[0-9a-f]{64}", rest)) for pin, _, rest in parts]


@pytest.mark.parametrize("name", FILES)
def test_every_version_is_pinned_with_hashes(name):
    for requirement, hashes in read_pins(name):
        assert [pin.operator for pin in requirement.specifier] == ["=="], requirement
        assert hashes, f"{requirement} has no hash: run `make constraints`"


def test_every_dependency_is_pinned():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    wanted = [Requirement(word) for words in extras for word in words]
    wanted += [Requirement(word) for word in project["project"]["dependencies"]]
    pins = {pin.name: pin.specifier for pin, _ in read_pins("constraints.txt")}
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name != "mmfeat":
            assert name in pins, f"{name} is not pinned: run `make constraints`"
            version = next(iter(pins[name])).version
            assert requirement.specifier.contains(version), f"{requirement}: run `make constraints`"


def test_what_builds_mmfeat_is_pinned():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    build = {pin.name: pin.specifier for pin, _ in read_pins("constraints-build.txt")}
    for word in project["build-system"]["requires"]:
        version = next(iter(build[Requirement(word).name])).version
        assert Requirement(word).specifier.contains(version)
    assert "uv" in build


def commands_of_make(folder, *variables):
    """Return the commands that install mmfeat, without running them."""
    for name in ("Makefile", "pyproject.toml", "setup.py", *FILES):
        shutil.copy(REPOSITORY / name, folder / name)
    command = ["make", "--just-print", ".venv/.testable", *variables]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    text = result.stdout.replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if " install " in line]


def test_make_checks_the_hashes_of_all_that_it_installs(tmp_path):
    first, *others = commands_of_make(tmp_path)
    assert {"--require-hashes", "constraints-build.txt"} < set(first)
    assert len(others) == 2
    for words in others:
        assert {"--constraint", "constraints.txt", "--build-constraint"} < set(words)
        assert "--no-verify-hashes" not in words


def test_make_installs_another_build_of_torch_first_and_nothing_else_without_hashes(tmp_path):
    unchecked = [
        words
        for words in commands_of_make(tmp_path, "TORCH_BACKEND=cpu")
        if "--no-verify-hashes" in words
    ]
    (words,) = unchecked
    assert {"--no-deps", "--torch-backend", "cpu", "--constraint"} < set(words)
    assert words[-2:] == ["torch", "torchvision"]


@pytest.fixture
def wheels(tmp_path):
    """Two builds of `toytorch`, of which one needs `toycuda`, and `user`, which needs a build."""

    def write_wheel(folder, name, version, *lines):
        folder.mkdir(exist_ok=True)
        info = f"{name}-{version}.dist-info"
        content = {
            f"{name}.py": "",
            f"{info}/METADATA": "\n".join(
                ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, ""]
            ),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{member},,\n" for member in [*content, f"{info}/RECORD"])
        path = folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for member, text in {**content, f"{info}/RECORD": record}.items():
                wheel.writestr(member, text)
        return path

    write_wheel(tmp_path / "index", "user", "1.0", "Requires-Dist: toytorch>=1")
    write_wheel(tmp_path / "cpu", "toytorch", "1.0+cpu")
    write_wheel(tmp_path / "index", "toycuda", "1.0")
    return write_wheel(tmp_path / "index", "toytorch", "1.0", "Requires-Dist: toycuda")


@pytest.fixture
def install(tmp_path, wheels):
    """Installs packages from a folder into a new environment, with a pin of `toytorch`."""
    if not UV.exists():
        pytest.skip("uv is not installed beside python")
    environment = tmp_path / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)

    def run(*words, folder="index", sha256):
        pins = tmp_path / "constraints.txt"
        pins.write_text(f"toytorch==1.0 --hash=sha256:{sha256}\n")
        options = ["--offline", "--no-cache", "--no-index", "--find-links", tmp_path / folder]
        command = [UV, "pip", "install", "--python", environment / "bin/python", *options]
        return subprocess.run(
            [*command, "--constraint", pins, *words], capture_output=True, text=True, check=False
        )

    return run


def test_a_file_with_another_hash_is_refused(install, wheels):
    sha256 = hashlib.sha256(wheels.read_bytes()).hexdigest()
    wrong = hashlib.sha256(b"another file").hexdigest()
    refused = install("user", sha256=wrong)
    assert refused.returncode != 0
    assert "Hash mismatch for `toytorch" in refused.stderr
    assert install("user", sha256=sha256).returncode == 0


def test_a_build_of_another_index_is_kept(install, wheels):
    """The hashes are those of the usual build; the installed one is not replaced."""
    sha256 = hashlib.sha256(wheels.read_bytes()).hexdigest()
    first = install("toytorch", "--no-deps", "--no-verify-hashes", folder="cpu", sha256=sha256)
    assert "+ toytorch==1.0+cpu" in first.stderr
    second = install("user", sha256=sha256)
    assert second.returncode == 0, second.stderr
    assert "toytorch" not in second.stderr
    assert "toycuda" not in second.stderr
