import csv
from collections.abc import Callable
from pathlib import Path

import pytest

import mmfeat
from tests.conftest import picture_bytes

WORDS = {"cat": "a small cat sleeps", "dog": "the big dog barks"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards, features, a model and predictions, made with the Python API."""
    folder = tmp_path_factory.mktemp("api")
    table = folder / "raw" / "items.csv"
    table.parent.mkdir()
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text", "label", "split", "price"])
        for number in range(60):
            label = "cat" if number % 2 else "dog"
            name = f"p{number:03}.png"
            colour = (200, number, 30) if number % 2 else (30, number, 200)
            (table.parent / name).write_bytes(picture_bytes(colour))
            split = ("train", "train", "train", "val", "test")[number % 5]
            text = "" if number == 7 else f"{WORDS[label]} number {number}"
            writer.writerow([name, text, label, split, number])
    mmfeat.shard(table, folder / "shards", samples_per_shard=25)
    mmfeat.extract(folder / "shards", folder / "features")
    mmfeat.train(
        folder / "features", folder / "model", target="label", fusion="logistic", inverse_penalty=1
    )
    mmfeat.score(folder / "model", folder / "features", folder / "predictions", columns="price")
    return folder


@pytest.fixture
def picture_of() -> Callable[[str], bytes]:
    """Makes a picture like those of a class."""
    return lambda label: picture_bytes((200, 9, 30) if label == "cat" else (30, 9, 200))
