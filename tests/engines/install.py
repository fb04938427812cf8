"""Install the engines: Prism and the worker's boot program with Go, Flink and Spark with Maven."""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("ENGINES") or Path.home() / ".cache" / "mmfeat-engines")
"""Where engines are installed, once for all runs."""

_SECONDS = 480.0
"""Time that an installation has. It downloads 150 MB (Flink) or 300 MB (Spark)."""

_MODULES = {"prism": "go/cmd/prism", "container": "python/container"}
"""Program → its Go module, in Beam's `sdks`."""


class MissingToolError(Exception):
    """An engine cannot be installed, since this machine lacks a tool. The text says which one."""


def program_path(name: str) -> Path:
    """Return where a program of Beam is installed, or will be."""
    return FOLDER / f"beam-v{version('apache-beam')}" / name


def install_program(name: str) -> Path:
    """Build a program of Beam with Go, in the version of the installed package.

    Raises:
        MissingToolError: there is no Go.
    """
    path = program_path(name)
    if not path.exists():
        module = f"github.com/apache/beam/sdks/v2/{_MODULES[name]}@v{version('apache-beam')}"
        _run("go", "install", module, env={"GOBIN": str(path.parent), "GOFLAGS": "-mod=mod"})
    return path


def install_jars(name: str) -> Path:
    """Download the jars that `NAME.xml` lists with Maven; return their folder.

    Raises:
        MissingToolError: there is no Java or no Maven.
    """
    if not shutil.which("java"):
        raise MissingToolError("no java")
    pom = HERE / f"{name}.xml"
    folder, ready = FOLDER / name, FOLDER / name / "pom.xml"
    if not ready.exists() or ready.read_bytes() != pom.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        goal = ("dependency:copy-dependencies", "-DincludeScope=runtime")
        _run("mvn", "-q", "-B", "-f", str(pom), *goal, f"-DoutputDirectory={folder}")
        shutil.copy(pom, ready)  # last: the folder is whole
    return folder


def _run(program: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    if not shutil.which(program):
        raise MissingToolError(f"no {program}")
    try:
        done = subprocess.run(
            [program, *arguments],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise MissingToolError(f"{program} has not ended in {_SECONDS:.0f} s") from None
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise MissingToolError(f"{program} failed: {lines[-1] if lines else done.returncode}")
