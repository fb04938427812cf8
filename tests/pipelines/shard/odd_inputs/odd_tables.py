"""Tables of odd files and texts, and what must hold for the shards of any input."""

import csv

from mmfeat.records import REASONS
from mmfeat.store.manifest import read_manifest


def write_table(path, column, names):
    """Write a table whose column has the names; its other column has a text for each."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column, "text"])
        writer.writerows([str(name), f"words {number}"] for number, name in enumerate(names))
    return path


def assert_counts_add_up(folder, rows):
    """Assert that in = out + rejected in the manifest, and that all rows are valid."""
    totals = read_manifest(str(folder), "shards")["totals"]
    assert totals["records"] == len(rows)
    assert totals["out"] == sum(row["status"] != "failed" for row in rows)
    assert totals["records"] == totals["out"] + sum(totals["rejected"].values())
    assert all((row["reason"] is None) == (row["status"] == "ok") for row in rows)
    words = {w.rpartition(":")[2] for row in rows for w in (row["reason"] or "").split(", ") if w}
    assert words <= REASONS.keys()
    assert len({row["__key__"] for row in rows}) == len(rows)
