"""Every field of every JSON document of a store is damaged, in several ways. Readers must notice.

A reader either gives the result of the intact store or raises an error of mmfeat. It reads and
writes no file outside the stores, whatever name a document has.
"""

import copy
import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmfeat.cli import info, main
from mmfeat.cli.info_lines import summary_lines
from mmfeat.errors import MmfeatError
from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.features import FeatureStore
from mmfeat.models.saved_model import load_model
from mmfeat.scoring import ScoreConfig, Scoring
from mmfeat.sources import InputOptions, open_source
from tests.figures import COUNTS
from tests.training.stores import load
from training.evaluation.evaluate_model import evaluate_split

pytestmark = pytest.mark.slow

ENCODER = "text=builtin:text?dim=64"

DAMAGES: dict[str, Any] = {
    "null": None,
    "text": "no such value",
    "empty text": "",
    "parent": "../x",
    "absolute": "/x/y",
    "negative": -1,
    "zero": 0,
    "huge": 1 << 70,
    "half": 0.5,
    "true": True,
    "list": [[]],
    "object": {"../x": 1},
}
"""Name → the value that replaces a field."""

DELETED = "deleted"

NAMES = (*DAMAGES, DELETED)

PER_FIELD = 3
"""Kinds of damage per field. Neighbouring fields get others."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny shards, features, a model and predictions, each finished."""
    folder = tmp_path_factory.mktemp("stores")
    with (folder / "records.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "split"])
        for number in range(20):
            label = ("cat", "dog")[number % 2]
            split = ("train", "train", "val", "test")[number // 2 % 4]
            writer.writerow([f"k{number}", f"a {label} {number}" * (number != 3), label, split])
    commands = [
        ["shard", "records.csv", "shards", "--samples-per-shard", "10", "--key-column", "id"],
        ["extract", "shards", "features", "--encoder", ENCODER],
        ["train", "features", "model", "--target", "label", "--fusion", "single", "--epochs", "2"],
        ["score", "model", "features", "predictions", "--columns", "label"],
    ]
    for name, *arguments in commands:
        paths = [str(folder / a) if not a.startswith("-") and "=" not in a and a in PATHS else a
                 for a in arguments]  # fmt: skip
        assert main.main([name, *paths]) == 0
    return folder


PATHS = ("records.csv", "shards", "features", "model", "predictions")


def show(folder: Path, store: str) -> Any:
    facts = info.describe_store(str(folder / store))
    return facts["finished"], len(summary_lines(facts)) > 5


def plan_extract(folder: Path) -> Any:
    config = ExtractConfig(str(folder / "shards"), str(folder / "features"), encoder=(ENCODER,))
    stage = Extraction(config)
    tasks = stage.plan()
    if manifest := stage.finished_manifest():
        stage.summary(manifest)
    return [(task.shard, task.records) for task in tasks]


def plan_score(folder: Path) -> Any:
    paths = [str(folder / name) for name in ("model", "features", "predictions")]
    stage = Scoring(ScoreConfig(*paths, columns=("label",)))
    tasks = stage.plan()
    if manifest := stage.finished_manifest():
        stage.summary(manifest)
    return [(task.shard, task.records) for task in tasks]


def shard_again(folder: Path) -> Any:
    source = open_source(str(folder / "shards"), InputOptions())
    return [(record.key, record.metadata.get("label")) for record in source.records()]


def evaluate(folder: Path) -> Any:
    model = load_model(str(folder / "model"))
    result = evaluate_split(model, FeatureStore(str(folder / "features")), "test")
    return result["accuracy"]


def train(folder: Path) -> Any:
    dataset = load(str(folder / "features"))
    return {name: len(rows) for name, rows in dataset.split_rows.items()}


READERS: dict[str, list[Callable[[Path], Any]]] = {
    "shards": [plan_extract, shard_again],
    "features": [plan_extract, plan_score, train],
    "model": [evaluate, plan_score],
    "predictions": [plan_score],
}
"""Store → what reads its documents."""


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field; of a list only the first item."""
    if path:
        yield path
    if isinstance(value, dict):
        for name in value:
            yield from fields(value[name], (*path, name))
    elif isinstance(value, list) and value:
        yield from fields(value[0], (*path, 0))


def damage(document: Any, path: tuple[Any, ...], name: str) -> Any:
    """Return a copy with one field damaged."""
    damaged = copy.deepcopy(document)
    parent = damaged
    for step in path[:-1]:
        parent = parent[step]
    if name == DELETED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = DAMAGES[name]
    return damaged


def documents(folder: Path) -> list[Path]:
    """Return the JSON documents of a store that readers read; the receipts of the first shard."""
    return [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*.json"))
        if not path.name.startswith("00001") and path.name != "metrics.json"
    ]


@pytest.mark.parametrize("store", READERS)
def test_a_damaged_field_gives_an_error_of_mmfeat_or_the_same_result(stores, store, tmp_path):
    folder = tmp_path / "a" / "b"
    shutil.copytree(stores, folder)
    readers = {reader.__name__: reader for reader in READERS[store]}
    readers["info"] = lambda folder: show(folder, store)
    expected = {name: reader(folder) for name, reader in readers.items()}
    wrong = []
    for document in documents(folder / store):
        path = folder / store / document
        intact = path.read_bytes()
        value = {k: v for k, v in json.loads(intact).items() if k != "checksum"}
        for number, place in enumerate(fields(value)):
            for name in (NAMES * 2)[number % len(NAMES) :][:PER_FIELD]:
                path.write_text(json.dumps(damage(value, place, name)))
                COUNTS["damaged fields"] += 1
                for reader_name, reader in readers.items():
                    label = f"{document} {'.'.join(map(str, place))} {name}: {reader_name}"
                    try:
                        result = reader(folder)
                    except MmfeatError as error:
                        if str(error).count("\n"):
                            wrong.append(f"{label}: not one line: {error}")
                    except Exception as error:
                        wrong.append(f"{label}: {type(error).__name__}: {error}")
                    else:
                        is_other_model = store == "model" and place[0] == "config"
                        if result != expected[reader_name] and not is_other_model:
                            wrong.append(f"{label}: {result}")
        path.write_bytes(intact)
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["b"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize("name", ["../victim", "/victim", "memory::x"])
@pytest.mark.parametrize(
    ("store", "command"),
    [
        ("shards", ["extract", "shards", "new", "--encoder", ENCODER]),
        ("features", ["score", "model", "features", "new"]),
        ("features", ["train", "features", "new", "--target", "label"]),
        ("features", ["evaluate", "model", "features"]),
    ],
)
def test_a_store_with_a_hostile_name_is_refused(
    stores, tmp_path, monkeypatch, capsys, store, command, name
):
    folder = tmp_path / "a" / "b"
    shutil.copytree(stores, folder)
    monkeypatch.chdir(folder)
    path = folder / store / "manifest.json"
    manifest = {k: v for k, v in json.loads(path.read_bytes()).items() if k != "checksum"}
    manifest["shards"][0]["name"] = str(tmp_path / name[1:]) if name[0] == "/" else name
    path.write_text(json.dumps(manifest))
    before = content(tmp_path)
    assert main.main(command) == 1
    line = capsys.readouterr().err
    assert "manifest.json is damaged: shards[0].name: expected a plain name" in line
    assert line.count("\n") == 1
    assert content(tmp_path) == before


def content(folder: Path) -> dict[Path, bytes]:
    """Return all files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["../../victim.txt", "{victim}", "data/../../../victim.txt"])
def test_a_receipt_with_a_hostile_name_is_not_followed(stores, tmp_path, monkeypatch, name):
    folder, victim = tmp_path / "a" / "b", tmp_path / "a" / "victim.txt"
    shutil.copytree(stores, folder)
    monkeypatch.chdir(folder)
    victim.write_bytes(b"mine")
    path = folder / "predictions" / "00000_stats.json"
    receipt = json.loads(path.read_bytes())
    receipt["files"] = {name.format(victim=victim): {"bytes": 4, "sha256": "0"}}
    path.write_text(json.dumps({k: v for k, v in receipt.items() if k != "checksum"}))
    (folder / "predictions" / "manifest.json").unlink()
    assert main.main(["score", "model", "features", "predictions", "--columns", "label"]) == 0
    assert victim.read_bytes() == b"mine"
    assert [*json.loads(path.read_bytes())["files"]] == ["data/00000.parquet"]
