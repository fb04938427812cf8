"""Compare the default of `mmfeat train` with its parts and with scikit-learn.

Each repetition splits the records anew, with all records of a group in one split. On the same rows
and features it trains `mmfeat train` without --fusion, on all columns, and on each one (there
without networks); and scikit-learn's logistic regression and RBF SVM on the columns side by side,
each centred and scaled to length 1, with C (and gamma) chosen on the split val and fitted again to
train and val. A kept folder has the figures of each split; the same command goes on after them.
"""

import contextlib
import csv
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.datasets.interactions import make_noise, make_selector, make_xor
from benchmarks.datasets.splits import random_split
from benchmarks.harness.run import run_mmfeat, work_folder
from benchmarks.loaders.feature_rows import write_features
from mmfeat.config import parse_args
from mmfeat.system import print_err, show_table

Quality = Literal["fast", "default"]

GENERATED = {"xor": make_xor, "selector": make_selector, "noise": make_noise}

REAL = {
    "emoji": ("emoji", "label", "concept", "image,text"),
    "products_gender": ("products", "gender", "product", "image,text"),
    "products_label": ("products", "label", "product", "image,text"),
    "recipes_zh": ("recipes_zh", "label", "dish", "image,text"),
    "spoken_digits": ("spoken_digits", "label", "speaker", "audio"),
}
"""Set → folder, target, group, columns. A text of spoken_digits is its label."""

_SPLITS = 100
"""Columns of splits of a store."""

MODELS = ("default", "best_single", "logistic", "svm")


@dataclass
class Options:
    """Compare the default of `mmfeat train` with single modalities and scikit-learn.

    The last line of the output is one JSON object.
    """

    data: str = ""
    """Folder with the folders emoji, products, recipes_zh and spoken_digits, each with a
    metadata.csv. Empty = the generated sets only."""
    sets: str = ""
    """Sets to run, separated by commas. Empty = all."""
    splits: int = 10
    """Repeated splits per set."""
    seeds: int = 1
    """Seeds of `mmfeat train` per split; the mean of their test accuracies counts."""
    folder: str = ""
    """Folder to keep and reuse shards, features and figures; default: a temporary folder."""

    def __post_init__(self) -> None:
        if self.splits < 1 or self.seeds < 1:
            sys.exit("defaults: --splits and --seeds must be at least 1")
        if self.splits > _SPLITS:
            sys.exit(f"defaults: --splits must be at most {_SPLITS}")


def main(arguments: Sequence[str]) -> None:
    """Run all sets, print the tables and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.defaults")
    import torch

    torch.set_num_threads(1)
    # The first optimizer imports the compiler of torch, which is no work of a search.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    names = [*(REAL if options.data else ()), *GENERATED]
    names = [name for name in names if not options.sets or name in options.sets.split(",")]
    result: dict[str, dict[str, Any]] = {}
    with work_folder(options.folder) as folder:
        for name in names:
            store = _make_store(options, folder, name)
            rows = [
                _run_split(options, folder, store, name, split) for split in range(options.splits)
            ]
            result[name] = _summarize(name, rows)
            print_err(f"defaults: {name} {json.dumps(result[name])}")
    show_table(
        f"test accuracy, mean of {options.splits} splits, and CPU seconds of the default",
        ["set", *MODELS, "default - best other", "lower 95 %", "NLL", "CPU s"],
        [
            [
                name,
                *(f"{values[model]:.3f}" for model in MODELS),
                f"{values['default'] - values['best_other']:+.3f}",
                f"{values['lower']:+.3f}",
                f"{values['nll']:.3f}",
                f"{values['cpu_s']:.1f}",
            ]
            for name, values in result.items()
        ],
    )
    print(json.dumps(result))


def _make_store(options: Options, folder: Path, name: str) -> str:
    """Return the feature store of a set, with a column `split_<n>` for each split."""
    if name in GENERATED:
        features, labels = GENERATED[name]()
        keys = [str(row) for row in range(len(labels))]
        splits = {f"split_{n}": random_split(keys, n) for n in range(_SPLITS)}
        path = folder / name
        return write_features(path, features, {"label": labels, **splits})
    source, _, group, _ = REAL[name]
    base = folder / source  # sets of one source share it
    if not (base / "features" / "manifest.json").exists():
        base.mkdir(parents=True, exist_ok=True)
        table = Path(options.data) / source / "metadata.csv"
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        groups = [row[group] or row["file_name"] for row in rows]
        for n in range(_SPLITS):
            for row, split in zip(rows, random_split(groups, n), strict=True):
                row[f"split_{n}"] = split
        for row in rows:
            row["file_name"] = str((table.parent / row["file_name"]).resolve())
        with (base / "table.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        run_mmfeat("shard", base / "table.csv", base / "shards")
        run_mmfeat("extract", base / "shards", base / "features")
    return str(base / "features")


def _run_split(
    options: Options, folder: Path, store: str, name: str, split: int
) -> dict[str, float]:
    """Return the test accuracy of each model on one split; NLL and CPU seconds of the default."""
    kept = folder / f"{name}-{split}-{options.seeds}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    target, columns = ("label", "image,text")
    if name in REAL:
        _, target, _, columns = REAL[name]
    flags: Any = {"target": target, "split": split, "folder": folder / "model"}
    started = time.process_time()
    runs = [_train(store, columns, seed, **flags) for seed in range(options.seeds)]
    cpu = (time.process_time() - started) / options.seeds
    default = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    singles = [_train(store, column, 0, quality="fast", **flags) for column in columns.split(",")]
    alone = max(singles, key=lambda single: single["validation"]) if len(singles) > 1 else default
    found = {
        "default": default["test"],
        "best_single": alone["test"],
        **_scikit_learn(store, target, columns, split),
        "nll": default["nll"],
        "cpu_s": cpu,
    }
    print_err(f"defaults: {name}, split {split}: {json.dumps(found)}")
    kept.write_text(json.dumps(found))
    return found


def _train(
    store: str,
    columns: str,
    seed: int,
    *,
    target: str,
    split: int,
    folder: Path,
    quality: Quality = "default",
) -> dict[str, float]:
    """Run `mmfeat train` in this process and return its accuracies, and its NLL on test rows."""
    import shutil

    from training.config import SearchOptions, SplitOptions, TrainConfig
    from training.search.run import train

    shutil.rmtree(folder, ignore_errors=True)
    config = TrainConfig(
        features=store,
        output=str(folder),
        target=target,
        modalities=columns,
        seed=seed,
        split=SplitOptions(split_column=f"split_{split}"),
        search=SearchOptions(quality=quality, ensemble=5),
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        train(config)
    metrics = json.loads((folder / "metrics.json").read_text())
    accuracies = {part: metrics[part]["accuracy"] for part in ("validation", "test")}
    return accuracies | {"nll": metrics["test"]["nll"]}


def _scikit_learn(store: str, target: str, columns: str, split: int) -> dict[str, float]:
    """Return the test accuracies of tuned models of scikit-learn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.svm import SVC

    x, y, splits = _read_rows(store, target, columns, split)
    fitted, test = splits != "test", splits == "test"
    folds = PredefinedSplit(np.where(splits[fitted] == "val", 0, -1))
    penalties = {"C": [1, 10, 100, 1000]}
    models: dict[str, Any] = {
        "logistic": (LogisticRegression(max_iter=300), penalties),
        "svm": (SVC(), {**penalties, "gamma": [0.3, 1, 3]}),
    }
    scores = {}
    for name, (model, grid) in models.items():
        search = GridSearchCV(model, grid, cv=folds).fit(x[fitted], y[fitted])
        scores[name] = float((search.predict(x[test]) == y[test]).mean())
    return scores


def _read_rows(
    store: str, target: str, columns: str, split: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels and splits of the usable rows.

    The features are rotated into the space of the rows, which changes no distance.
    """
    from mmfeat.features import FeatureStore
    from training.columns import choose_columns
    from training.config import SplitOptions, TrainConfig
    from training.fit.resolve import open_dataset

    config = TrainConfig(
        features=store,
        output="unused",
        target=target,
        modalities=columns,
        split=SplitOptions(split_column=f"split_{split}"),
    )
    features = FeatureStore(store)
    dataset = open_dataset(config, features, choose_columns(features, columns), quiet=True)
    names = np.concatenate([[name] * len(rows) for name, rows in dataset.split_rows.items()])
    rows = np.concatenate(list(dataset.split_rows.values()))
    values, present = dataset.features.take(rows)
    parts = []
    for name, column in values.items():
        x = column.astype(np.float64)
        x -= x[(names == "train") & present[name]].mean(axis=0)
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        parts.append(np.where(present[name][:, None], x, 0))
    joined = np.concatenate(parts, axis=1)
    if joined.shape[1] > len(joined):
        lengths, vectors = np.linalg.eigh(joined @ joined.T)
        joined = vectors * np.sqrt(np.maximum(lengths, 0))
    return joined, dataset.targets[rows], names


def _summarize(name: str, rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the means, the best other model, and the lower 95 % bound of the difference."""
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    others = MODELS[1:] if REAL.get(name, ("", "", "", ","))[3].count(",") else MODELS[2:]
    best = max(others, key=lambda model: means[model])
    differences = np.array([row["default"] - row[best] for row in rows])
    error = differences.std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else 0.0
    return {
        **means,
        "best_other": means[best],
        "best_other_model": best,
        "lower": float(differences.mean() - 1.96 * error),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
