"""Stores to look into: shards, features, a model and predictions of sixty toy records."""

import csv
import wave
from pathlib import Path

import numpy as np
import pytest

import mmfeat as api
from tests.browser import browser, driver  # noqa: F401 - fixtures
from tests.conftest import picture_bytes

SCRIPT = "<script>window.hacked = 1</script>"
IMAGE = '"><img src="https://evil.invalid/x.png" onerror="window.hacked = 2">'
FORMULA = '=HYPERLINK("https://evil.invalid")'


def write_table(folder, rows):
    """Write a table of records, and one picture per row that names none."""
    folder.mkdir(parents=True)
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for number, row in enumerate(rows):
        path = folder / str(row.get("file_name") or "none.png")
        if path.suffix == ".png" and "gone" not in path.name and not path.exists():
            path.write_bytes(picture_bytes((number * 37 % 256, number * 91 % 256, 60)))
    return folder / "table.csv"


def toy_rows(count=60):
    """Return rows of two classes. Some texts belong to the other class, some pictures are gone."""
    words = {"cat": "a small cat sleeps", "dog": "the big dog barks"}
    rows = []
    for number in range(count):
        label = "cat" if number % 2 else "dog"
        shown = label if number % 7 else ("dog" if label == "cat" else "cat")
        rows.append(
            {
                "id": f"k{number:03}",
                "file_name": f"gone{number}.png" if number % 20 == 3 else f"p{number:03}.png",
                "text": "" if number == 23 else f"{words[shown]} number {number}",
                "label": label,
                "split": ("train", "train", "train", "val", "test")[number % 5],
                "price": number / 2,
            }
        )
    return rows


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    """A folder with shards of fifteen records, features, a model and predictions."""
    folder = tmp_path_factory.mktemp("stores")
    table = write_table(folder / "raw", toy_rows())
    shards, features = folder / "shards", folder / "features"
    api.shard(table, shards, samples_per_shard=15, key_column="id")
    api.extract(shards, features)
    api.train(features, folder / "model", target="label", fusion="sum", lr=0.01, epochs=2)
    api.score(folder / "model", features, folder / "predictions")
    return folder


@pytest.fixture
def hostile_shards(tmp_path) -> Path:
    """Shards whose keys, labels, texts and columns try to be markup."""
    rows = [
        {"id": f"{SCRIPT}{number}", "file_name": f"p{number}.png", "text": text, "label": text,
         IMAGE: text}
        for number, text in enumerate([SCRIPT, IMAGE, FORMULA, "-1+1", "plain, \"quoted\""])
    ]  # fmt: skip
    api.shard(write_table(tmp_path / "raw", rows), tmp_path / "shards", key_column="id")
    return tmp_path / "shards"


def write_sound(path, seconds=0.5, rate=8000):
    """Write a tone as a WAV file."""
    wave_form = np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((wave_form * 20000).astype("<i2").tobytes())
