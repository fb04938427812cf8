"""The steps of the Dockerfile, tried without Docker and without downloads."""

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

UV = str(Path(sys.executable).parent / "uv")


def read_steps():
    """Return the instructions of the Dockerfile: name and text, and its build arguments."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    steps = [tuple(line.split(maxsplit=1)) for line in lines]
    arguments = dict(text.split("=", 1) for name, text in steps if name == "ARG")
    return steps, arguments


STEPS, ARGUMENTS = read_steps()


@pytest.fixture
def image(tmp_path):
    """A folder with the files that the image has when mmfeat is installed."""
    folder = tmp_path / "image"
    folder.mkdir()
    for name, text in STEPS:
        if name == "COPY":
            *sources, target = text.split()
            for source in sources:
                found = REPOSITORY / source
                if found.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(found, folder / target, ignore=ignored)
                else:
                    shutil.copy(found, folder / target)
    return folder


def commands(program):
    """The words of each call of a program in the RUN steps, with the build arguments filled in."""
    for name, text in STEPS:
        for line in re.split(r"&&|;", text) if name == "RUN" else ():
            for argument, value in ARGUMENTS.items():
                line = line.replace(f"${argument}", value)
            words = shlex.split(line)
            if words[:1] == ["then"]:
                del words[0]
            if words[:1] == [program]:
                yield words


def test_the_image_has_the_version_of_beam_and_a_python_that_mmfeat_takes():
    base = next(text for name, text in STEPS if name == "FROM")
    python, beam = re.fullmatch(r"apache/beam_python(3\.\d+)_sdk:(\S+)", base).groups()
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    assert f"apache-beam=={beam} " in constraints
    least = re.search(
        r'requires-python = ">=(3\.\d+)"', (REPOSITORY / "pyproject.toml").read_text()
    )[1]
    assert int(python.split(".")[1]) >= int(least.split(".")[1])


def test_the_pinned_installer_can_be_installed(image):
    (words,) = commands("pip")
    assert words[:2] == ["pip", "install"]
    dry = [sys.executable, "-m", *words, "--dry-run", "--no-index", "--no-deps"]
    done = subprocess.run(dry, cwd=image, capture_output=True, text=True)
    # Nothing is asked for: the installed packages fulfil the file, whose hashes are checked.
    assert done.returncode == 0, done.stderr


def test_the_installer_takes_the_flags_and_finds_all_extras(image):
    """The environment of the tests has all packages, so that there is nothing to download."""
    torch, mmfeat = commands("uv")
    for words in (torch, mmfeat):
        words[words.index("--system") : words.index("--system") + 1] = ["--python", sys.executable]
        words[0] = UV
    # The index of the wheels for CPUs cannot be asked without a connection.
    at = torch.index("--torch-backend")
    assert torch[at + 1] == "cpu"
    torch[at + 1] = "auto"
    mmfeat[mmfeat.index("--no-cache") : mmfeat.index("--no-cache") + 1] = ["--no-build-isolation"]
    for words in (torch, mmfeat):
        done = subprocess.run(
            [*words, "--dry-run", "--offline"], cwd=image, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "does not have an extra" not in done.stderr


@pytest.mark.slow
def test_the_copied_files_are_enough_to_build_and_to_import(image, tmp_path):
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    packages = next(tmp_path.glob("venv/lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--offline")
    install = [UV, "pip", "install", "--python", python, *flags, image]
    subprocess.run(install, check=True)
    (words,) = commands("python")
    where = "; import mmfeat; print(mmfeat.__file__)"
    command = [str(python), *words[1:-1], words[-1] + where]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(packages)
