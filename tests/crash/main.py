"""Run the crash tests and print what they did, as a table for docs/reliability.md.

python -m tests.crash.main --points 500
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

COLUMNS = ("power cuts", "failing disks", "failed calls", "states inspected")


def main() -> int:
    """Run them, and return the exit code of pytest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500, help="power cuts and failing disks")
    points = parser.parse_args().points
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figures.json")
        environment = {**os.environ, "CRASH_POINTS": str(points), "CRASH_FIGURES": str(path)}
        command = [sys.executable, "-m", "pytest", "-q", "tests/crash", "--numprocesses", "0"]
        code = subprocess.run(command, env=environment, check=False).returncode
        print(format_table(json.loads(path.read_text())))
    return code


def format_table(figures: Mapping[str, int]) -> str:
    """Return a table with one row per stage.

    Args:
        figures: what the tests counted, as `stage: column` → number.
    """
    stages = list(dict.fromkeys(name.partition(": ")[0] for name in figures))
    rows = [[stage, *(figures.get(f"{stage}: {name}", 0) for name in COLUMNS)] for stage in stages]
    rows.append(["all", *(sum(int(row[n + 1]) for row in rows) for n in range(len(COLUMNS)))])
    lines = [("stage", *COLUMNS), ["---"] * (len(COLUMNS) + 1), *rows]
    return "\n".join(
        "| " + " | ".join(f"{v:,}" if isinstance(v, int) else v for v in line) + " |"
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
