"""Generated model directories, shards for them, and a browser to read the reports."""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.store.directory import json_digest
from tests.browser import browser, driver  # noqa: F401 - fixtures
from tests.mmfeat.manifests import shard_entry, shards_manifest

CLASSES = ("cat", "dog", "owl")


class Page(HTMLParser):
    """The content of a page.

    Attributes:
        tables: section id → rows → texts of the cells.
        text: all text shown.
        images: `src` of each image.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self.images: list[str] = []
        self._section, self._cell, self._hidden = "", False, False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.images.append(values.get("src") or "")
        if tag == "section":
            self._section = values.get("id") or ""
        if tag == "tr":
            self.tables.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self._cell = True
            self.tables[self._section][-1].append("")
        self._hidden = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False
            row = self.tables[self._section][-1]
            row[-1] = " ".join(row[-1].split())
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        self.text += data
        if self._cell:
            row = self.tables[self._section][-1]
            row[-1] += data

    def row(self, section: str, name: str) -> list[str]:
        """Return the cells after the name of a row."""
        return next(row[1:] for row in self.tables[section] if row and row[0] == name)


@pytest.fixture
def read_page() -> Callable[[str], Page]:
    """Return a function that reads a page."""
    return lambda path: Page(Path(path).read_text("utf-8"))


def write_shards(folder: Path, samples: dict[str, dict[str, bytes]], name: str = "00000") -> str:
    """Write one shard and the manifest."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / f"{name}.tar", "w") as tar:
        for key, members in samples.items():
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    shards = [shard_entry(name, records=len(samples))]
    manifest = shards_manifest(shards=shards) | {"config_hash": "of-the-shards"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def probabilities(rows: int, classes: int, seed: int = 0) -> np.ndarray:
    """Return random probabilities, float32, shape (rows, classes)."""
    drawn = np.random.default_rng(seed).dirichlet(np.ones(classes) * 0.5, rows)
    return drawn.astype(np.float32)


def write_model(
    folder: Path,
    *,
    rows: int = 60,
    classes: Sequence[str] = CLASSES,
    columns: Sequence[str] = ("image", "text"),
    keys: Sequence[str] = (),
    predictions: bool = True,
    shard: str = "00000",
) -> str:
    """Write a finished multiclass model; every third row belongs to validation."""
    rng = np.random.default_rng(1)
    p = probabilities(rows, len(classes))
    target = np.where(rng.random(rows) < 0.7, p.argmax(1), rng.integers(0, len(classes), rows))
    split = np.where(np.arange(rows) % 3 == 0, "val", "test")
    weights = rng.random((rows, len(columns)))
    weights /= weights.sum(axis=1, keepdims=True)
    present = np.ones((rows, len(columns)), bool)
    present[1::10, 0] = False
    table = {
        "__key__": [keys[i] if i < len(keys) else f"key-{i:05d}" for i in range(rows)],
        "shard": [shard] * rows,
        "split": split,
        "target": [classes[i] for i in target],
        "prediction": [classes[i] for i in p.argmax(1)],
        **{f"p_{name}": p[:, i] for i, name in enumerate(classes)},
        **{f"w_{c}": weights[:, i].astype(np.float32) for i, c in enumerate(columns)},
        **{f"present_{c}": present[:, i] for i, c in enumerate(columns)},
        "loss": -np.log(np.maximum(p[np.arange(rows), target], 1e-9)),
    }
    test = split == "test"
    write_files(
        folder,
        {"task": "multiclass", "target": "label", "classes": list(classes), "fusion": "gmu"},
        columns,
        {
            "metric": "accuracy",
            "lr": 0.001,
            "best_epoch": 2,
            "temperature": {
                "value": 1.5, "nll_before": 0.9, "nll_after": 0.8,
                "ece_before": 0.2, "ece_after": 0.1,
            },
            "validation": _split_metrics(target[~test], p[~test], classes),
            "test": _split_metrics(target[test], p[test], classes),
            "candidates": [
                {"lr": lr, "epoch": 2, "accuracy": 0.5, "loss": 1.0} for lr in (0.0001, 0.001)
            ],
            "parameters": 1234,
            "rows": {"train": 100, "val": int((~test).sum()), "test": int(test.sum())},
            "left_out": {"no target": 3},
            "speed": {"train_seconds": 1.5, "train_rows_per_second": 1000.0},
        },
    )  # fmt: skip
    if predictions:
        pq.write_table(pa.table(table), folder / "predictions.parquet", row_group_size=64)
    return str(folder)


def write_files(
    folder: Path, config: dict[str, Any], columns: Sequence[str], metrics: dict[str, Any]
) -> None:
    """Write config.json, metrics.json and log.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    config |= {
        "columns": [
            {"name": c, "modality": c, "dim": 8, "encoder": {"name": "x"}} for c in columns
        ],
        "features": {"config_hash": json_digest({"shards": "of-the-shards"}), "records": 9},
    }
    claim = {"kind": "model", "hash": "0" * 64, "config": config}
    (folder / "config.json").write_text(json.dumps(claim))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    lines = [
        {"tried_lr": lr, "epoch": epoch, "loss": 1 / epoch, "val_loss": 1.0,
         f"val_{metrics['metric']}": 0.1 * epoch}
        for lr in (0.0001, 0.001) for epoch in (1, 2, 3)
    ]  # fmt: skip
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


def _split_metrics(target: np.ndarray, p: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (target, p.argmax(1)), 1)
    accuracy = float((target == p.argmax(1)).mean())
    return {
        "accuracy": accuracy,
        "nll": 0.75,
        "rows": len(target),
        "classes": list(classes),
        "unseen_labels": {},
        "confusion_matrix": matrix.tolist(),
        "per_class": {
            name: {
                "precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": int((target == i).sum())
            }
            for i, name in enumerate(classes)
        },
        "per_subset": {"image+text": {"rows": len(target), "accuracy": accuracy}},
    }  # fmt: skip


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a model (see `write_model`) and returns its path."""
    return lambda **options: write_model(tmp_path / "model", **options)


@pytest.fixture
def make_files() -> Callable[..., None]:
    """Return `write_files`."""
    return write_files


@pytest.fixture
def make_shards(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a shard of samples: key → extension → content."""
    return lambda samples: write_shards(tmp_path / "shards", samples)
