"""The golden comparison: all stages on fixed inputs, with the code of a commit and of a folder.

python -m tests.golden.main [--base COMMIT] [--present FOLDER]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.golden.compare import compare, show
from tests.golden.inputs import make_golden_inputs
from tests.golden.run import run

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    """Compare, and print what differs; the exit code is 1 where something does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="HEAD", help="commit to compare with")
    parser.add_argument("--present", type=Path, default=REPOSITORY, help="sources to compare")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="golden-"))
    sources = scratch / "sources"
    _git("worktree", "add", "--quiet", "--detach", str(sources), arguments.base)
    try:
        make_golden_inputs(scratch / "inputs")
        failed = _run("base", sources, scratch) + _run("present", arguments.present, scratch)
    finally:
        _git("worktree", "remove", "--force", str(sources))
    different = show(compare(scratch / "base", scratch / "present"))
    if different or failed:
        print(f"both outputs are in {scratch}")
        return 1
    shutil.rmtree(scratch)
    return 0


def _run(name: str, tree: Path, scratch: Path) -> list[str]:
    """Both trees run in a folder of the same name, so that no path in an output differs."""
    folder = scratch / "run"
    shutil.copytree(scratch / "inputs", folder / "inputs")
    began = time.monotonic()
    failed = run(tree.resolve(), folder)
    folder.rename(scratch / name)
    print(f"{name}: {tree}, {time.monotonic() - began:.0f} s", flush=True)
    for said in failed:
        print(f"did not end as it must: {said}", flush=True)
    return failed


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(REPOSITORY), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
