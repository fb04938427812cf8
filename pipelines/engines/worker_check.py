"""What a worker must have. Workers load this module, before they are known to have all packages."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

REQUIRED = ("mmfeat", "apache-beam")
"""Packages that a worker must have in the version of the command."""

COMPARED = (*REQUIRED, "numpy", "pyarrow", "pillow", "torch")
"""Packages whose version may change the bytes of a store."""


@dataclass(frozen=True)
class WorkerTask:
    """What to check in a worker.

    Attributes:
        python: version of Python, `3.11`.
        versions: package → version.
        folder: folder that the worker must share with the command; empty = none. It has a file
            `question`, and the worker copies it to `answer`.
    """

    python: str
    versions: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


class WorkerError(RuntimeError):
    """A worker lacks what the stages need. The text is one line."""


def worker_task(packages: tuple[str, ...] = REQUIRED, folder: str = "") -> WorkerTask:
    """Return a task with the versions of this process. Packages that it lacks are left out."""
    found = {name: text for name in packages if (text := _version(name))}
    return WorkerTask(_python(), found, folder)


def check_worker(task: WorkerTask) -> None:
    """Check this process.

    Raises:
        WorkerError: Python or a package has another version, or the folder is not shared.
    """
    problems = []
    if _python() != task.python:
        problems.append(f"its Python is {_python()}, that of the command {task.python}")
    for name, wanted in task.versions.items():
        if (found := _version(name)) != wanted:
            problems.append(f"its {name} is {found or 'missing'}, that of the command {wanted}")
    if task.folder:
        problems += _check_folder(task.folder)
    if problems:
        raise WorkerError(f"a worker on {platform.node()}: {'; '.join(problems)}")


def _check_folder(folder: str) -> list[str]:
    try:
        from mmfeat.storage import files

        with files.open_input(files.join(folder, "question")) as file:
            question = file.read()
        with files.create(files.join(folder, "answer")) as output:
            output.write(question)
    except Exception as error:
        return [f"it cannot use {folder}: {type(error).__name__}: {error}"]
    return []


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return ""
