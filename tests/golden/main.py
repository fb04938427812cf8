"""The golden comparison: all stages on fixed inputs, with the code of a commit and of a folder.

python -m tests.golden.main [--base COMMIT] [--present FOLDER]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.golden.compare import compare, show
from tests.golden.inputs import make_golden_inputs

REPOSITORY = Path(__file__).resolve().parents[2]
RUN = Path(__file__).with_name("run.py")


def main() -> int:
    """Compare, and print what differs; the exit code is 1 where something does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="HEAD", help="commit to compare with")
    parser.add_argument("--present", type=Path, default=REPOSITORY, help="sources to compare")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="golden-")).resolve()
    sources = scratch / "sources"
    _git("worktree", "add", "--quiet", "--detach", str(sources), arguments.base)
    try:
        make_golden_inputs(scratch / "inputs")
        ended = [
            _run("base", sources, scratch),
            _run("present", arguments.present.resolve(), scratch),
        ]
    finally:
        _git("worktree", "remove", "--force", str(sources))
    different = show(compare(scratch / "base", scratch / "present"))
    if different or not all(ended):
        print(f"both outputs are in {scratch}")
        return 1
    shutil.rmtree(scratch)
    return 0


def _run(name: str, tree: Path, scratch: Path) -> bool:
    """Run a tree; returns whether all commands ended as they must.

    Both trees run in a folder of the same name, so that no path in an output differs.
    """
    folder = scratch / "run"
    shutil.copytree(scratch / "inputs", folder / "inputs")
    # No folder here shall pass for a package. More threads than one wait for each other.
    settings = {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(RUN), str(tree), str(folder)],
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
    )
    folder.rename(scratch / name)
    print(f"{name}: {tree}, {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(REPOSITORY), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
