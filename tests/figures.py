"""What the tests did to mmfeat: kills, damaged files, power cuts. See `tests/reliability.py`."""

import json
import os
from collections import Counter
from pathlib import Path

COUNTS: Counter[str] = Counter()
"""Event → number of times it happened in this process."""


def save() -> None:
    """Write the counts of this process into the folder that the variable FIGURES names, if any."""
    if folder := os.environ.get("FIGURES"):
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps(COUNTS))


def load(folder: str) -> Counter[str]:
    """Add up what all processes have counted."""
    total: Counter[str] = Counter()
    for path in Path(folder).glob("*.json"):
        total.update(json.loads(path.read_text()))
    return total
