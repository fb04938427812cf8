"""Shared parts of the generators: words, tables, and markers of finished datasets."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = "red green blue small large old new round square bright lamp boat house tree road".split()


def generate_once(marker: Path, settings: Mapping[str, Any], generate: Callable[[], None]) -> None:
    """Generate a dataset unless an earlier call finished it with the same settings.

    Args:
        marker: JSON file with the settings of the finished dataset.
        settings: everything the dataset depends on.
        generate: writes the dataset.
    """
    if marker.exists() and json.loads(marker.read_text()) == settings:
        return
    marker.unlink(missing_ok=True)
    generate()
    marker.write_text(json.dumps(settings))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file row by row. The file appears only when it is complete."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    unfinished.rename(path)
