"""A scored toy dataset."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from mmfeat.cli import main
from tests.conftest import picture_bytes

ROWS = [
    {
        "file_name": f"p{number:02}.png",
        "text": f"a {('red', 'blue')[number % 2]} thing, number {number}",
        "label": ("red", "blue")[number % 2],
        "sku": f"K-{number}",
        "size in cm": number / 4 if number % 5 else "",
        "prediction": f"guess {number}",
    }
    for number in range(40)
]
"""Records, two of which have neither an image nor a text."""

for row in (ROWS[7], ROWS[20]):
    row |= {"file_name": "absent.png", "text": ""}


def run(*arguments: object) -> None:
    assert main.main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `features` of four shards, `model` and `predictions`."""
    folder = tmp_path_factory.mktemp("scored")
    for number, row in enumerate(ROWS):
        if row["file_name"] != "absent.png":
            colour = (200, number, 30) if row["label"] == "red" else (30, number, 200)
            (folder / str(row["file_name"])).write_bytes(picture_bytes(colour))
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    flags = ("--key-column", "sku", "--samples-per-shard", 10)
    run("shard", folder / "table.csv", folder / "shards", *flags)
    run("extract", folder / "shards", folder / "features")
    train = ("--target", "label", "--fusion", "gmu", "--epochs", 2, "--hidden", 8, "--lr", 0.003)
    run("train", folder / "features", folder / "model", *train)
    run("score", folder / "model", folder / "features", folder / "predictions")
    return folder


@pytest.fixture
def score(scored, mmfeat, tmp_path):
    """Runs `mmfeat score` on the features, into a folder of the test."""

    def run(*flags):
        return mmfeat("score", scored / "model", scored / "features", tmp_path / "out", *flags)

    return run


def read(folder: Path) -> pa.Table:
    """Read all rows of predictions, by key."""
    return ds.dataset(folder / "data", partitioning="hive").to_table().sort_by("__key__")
