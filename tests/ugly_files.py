"""The real dataset `ugly`: broken and odd files, and what is known of each."""

import csv
from pathlib import Path


def ugly_files(folder: Path, kind: str) -> dict[str, dict[str, str]]:
    """Return the files of a kind (image, audio or tar): name → its row of manifest.csv."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {row["file_name"]: row for row in csv.DictReader(file) if row["kind"] == kind}
