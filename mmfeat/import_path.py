"""The import path: Python must load mmfeat's own packages, not those of the working directory.

`pipelines` and `training` are usual names for a user's folders, too.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mmfeat.errors import MmfeatError

_ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds mmfeat, pipelines and training."""

_SAFE_PATH = "PYTHONSAFEPATH"


def drop_working_directory() -> None:
    """Remove the working directory that `python -m` puts first on the import path.

    Call it in the `__init__` of a package that is run with `python -m`. While Python looks for the
    module to run, the first argument is `-m`. A clone keeps its root: the packages in it are those
    of mmfeat.
    """
    if sys.flags.safe_path or getattr(sys, "argv", [])[:1] != ["-m"]:
        return
    if sys.path[0] == os.getcwd() and Path(sys.path[0]).resolve() != _ROOT:
        del sys.path[0]


@contextmanager
def safe_child_processes() -> Iterator[None]:
    """Start Python processes in this block as `python -P` does. They keep PYTHONPATH."""
    previous = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if previous is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = previous


def check_package(package: str) -> None:
    """Check that a package is the one beside mmfeat, not a user's package of the same name.

    Raises:
        MmfeatError: PYTHONPATH has another package of that name before mmfeat's.
    """
    spec = find_spec(package)
    folders = (spec and (spec.submodule_search_locations or [str(spec.origin)])) or []
    found = next(map(Path, folders), None)
    if found is None or found.resolve() != _ROOT / package:
        raise MmfeatError(
            f"the package {package!r} must be the one beside mmfeat, {_ROOT / package}",
            got=found and str(found),
            cure="Rename the other one, or remove its folder from PYTHONPATH",
        )
