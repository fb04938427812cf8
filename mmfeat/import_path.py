"""The import path: Python must load mmfeat's own packages, not those of the working directory.

`pipelines` and `training` are usual names for a user's folders, too.
"""

import os
import sys
import threading
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


class _SafePath:
    """The blocks of `safe_child_processes` that threads of this process are in."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.blocks = 0
        self.previous: str | None = None


_safe_path = _SafePath()


@contextmanager
def safe_child_processes() -> Iterator[None]:
    """Start Python processes in this block as `python -P` does. They keep PYTHONPATH.

    Blocks of several threads may overlap: the last one that ends restores the environment.
    """
    with _safe_path.lock:
        if not _safe_path.blocks:
            _safe_path.previous = os.environ.get(_SAFE_PATH)
            os.environ[_SAFE_PATH] = "1"
        _safe_path.blocks += 1
    try:
        yield
    finally:
        with _safe_path.lock:
            _safe_path.blocks -= 1
            if not _safe_path.blocks and _safe_path.previous is not None:
                os.environ[_SAFE_PATH] = _safe_path.previous
            elif not _safe_path.blocks:
                os.environ.pop(_SAFE_PATH, None)


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
