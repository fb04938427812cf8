"""Run Python code and commands of mmfeat in a process of their own."""

import os
import resource
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def run_python(code: str, *arguments: object, **environment: str) -> str:
    """Run code in a new process and return what it prints.

    Args:
        code: the program.
        arguments: what it finds in `sys.argv`.
        environment: variables in addition to those of this process.
    """
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    return result.stdout


def run_with_file_limit(limit: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of mmfeat in a process that may not write files of more than `limit` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "mmfeat", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
