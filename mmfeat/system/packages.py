"""Tell the user how to install a package that mmfeat does not require."""

import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires


def install_command(package: str) -> str:
    """Return a command that installs a package into the environment of this process.

    It names the package itself, not an extra of mmfeat: the user may have no clone.

    Args:
        package: name of the package for pip. The version is that of mmfeat's extras.
    """
    try:
        known = requires("mmfeat") or []
    except PackageNotFoundError:  # a clone that is not installed
        known = []
    requirements = [text.partition(";")[0].strip() for text in known]
    pattern = re.compile(rf"{re.escape(package)}(?![\w.-])", re.IGNORECASE)
    requirement = next((text for text in requirements if pattern.match(text)), package)
    return shlex.join([sys.executable, "-m", "pip", "install", requirement])
