"""The page of a model, from the files of its directory.

config.json, metrics.json, log.jsonl, predictions.parquet, and the shards → MODEL/report.html
"""

from collections.abc import Mapping
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.store import files
from mmfeat.store.directory import CONFIG, MANIFEST
from training.report.charts import line_chart as charts
from training.report.charts.confusion import shown_confusion
from training.report.charts.curves import read_curves
from training.report.charts.reliability import Reliability
from training.report.charts.weights import WeightHistograms
from training.report.find_shards import check_shards, find_shards
from training.report.page import render, write_page
from training.report.pairs import Pairs
from training.report.predictions import Layout, Reader, batches, judged_split
from training.report.text import plain
from training.report.thumbnails import Original, read_originals
from training.report.worst import WorstRow, WorstRows

METRICS, LOG, PREDICTIONS = "metrics.json", "log.jsonl", "predictions.parquet"

WORST = 24
"""Rows with the largest loss that a page shows."""

_CLASSES = 400
_WEIGHED_CLASSES = 24
_FIRST = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "nll", "ece")


def write_model_report(model_dir: str, *, shards: str | None = None, worst: int = WORST) -> str:
    """Write MODEL/report.html; returns its path.

    Args:
        model_dir: directory that `mmfeat train` wrote.
        shards: directory of the shards; None = as the features of the model name it. Where they
            are not there, the page says so in place of pictures and texts.
        worst: rows with the largest loss to show.

    Raises:
        MmfeatError: no model there, or `shards` holds other shards than the model's.
    """
    claim, metrics = _read(model_dir, CONFIG), _read(model_dir, METRICS)
    config = claim.get("config", {})
    manifest = files.read_json(files.join(model_dir, MANIFEST)) or {}
    if shards is not None:
        check_shards(shards, config)
    seen = _look_at_rows(model_dir, config, metrics, worst)
    split = seen.get("split") or ("test" if metrics.get("test") else "val")
    judged = metrics.get("test" if split == "test" else "validation") or {}
    page = render(
        "model.html",
        name=plain(files.join(model_dir).rstrip("/").rpartition("/")[2], 80),
        config=config,
        manifest=manifest,
        metrics=metrics,
        split=split,
        judged=judged,
        scores=_scores(metrics),
        dots=charts.DOTS,
        curves=_curves(model_dir, metrics),
        confusion=_confusion(judged, config),
        classes=_classes(judged),
        all_classes=len(judged.get("per_class") or {}),
        **_charts(seen, config),
        **_worst(seen, config, manifest, shards),
    )
    return write_page(model_dir, page)


def _read(folder: str, name: str) -> dict[str, Any]:
    found = files.read_json(files.join(folder, name))
    if not isinstance(found, dict):
        raise MmfeatError(
            f"a finished model has a {name}, and {folder} has none",
            cure="Name a directory that mmfeat train wrote, or run mmfeat train again",
        )
    return found


def _look_at_rows(
    folder: str, config: Mapping[str, Any], metrics: Mapping[str, Any], worst: int
) -> dict[str, Any]:
    """Everything that is learnt from the rows of the judged split; empty without predictions."""
    path = files.join(folder, PREDICTIONS)
    if not files.exists(path):
        return {}
    task = config.get("task", "multiclass")
    layout = Layout(
        task=task,
        classes=config.get("classes") or [],
        columns=[column["name"] for column in config.get("columns", [])],
    )
    split, rows = judged_split(path)
    temperature = (metrics.get("temperature") or {}).get("value")
    readers: dict[str, Reader] = {
        "weights": WeightHistograms(layout),
        "worst": WorstRows(worst),
        "reliability": Reliability(temperature),
        "pairs": Pairs(),
    }
    if task == "regression":
        del readers["reliability"]
    else:
        del readers["pairs"]
    for batch in batches(path, split, layout):
        for reader in readers.values():
            reader.add(batch)
    return {"split": split, "rows": rows, **readers}


def _scores(metrics: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name, validation and test of each number, those that all know first."""
    validation, test = metrics.get("validation") or {}, metrics.get("test") or {}
    names = [
        name
        for name in dict.fromkeys([metrics.get("metric"), *_FIRST, *validation, *test])
        if any(isinstance(part.get(name), float) for part in (validation, test))
    ]
    return [(name, validation.get(name), test.get(name)) for name in names]


def _curves(folder: str, metrics: Mapping[str, Any]) -> Any:
    metric = metrics.get("metric", "")
    curves = read_curves(files.join(folder, LOG), metric, metrics)
    if all(len(curve.epochs) < 2 for curve in curves):
        return ""  # what is solved at once has no curve
    return charts.draw_curves(curves, metric, metrics.get("best_epoch"))


def _confusion(judged: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    matrix = judged.get("confusion_matrix")
    classes = judged.get("classes") or config.get("classes")
    return shown_confusion(matrix, classes) if matrix and classes else None


def _classes(judged: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The classes, those with most rows first."""
    classes = list((judged.get("per_class") or {}).items())
    return sorted(classes, key=lambda item: -item[1].get("support", 0))[:_CLASSES]


def _charts(seen: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    weights: WeightHistograms | None = seen.get("weights")
    reliability: Reliability | None = seen.get("reliability")
    pairs: Pairs | None = seen.get("pairs")
    if weights and not weights.rows.any():
        weights = None
    if reliability and not reliability.after.rows.any():
        reliability = None
    return {
        "rows": seen.get("rows"),
        "reliability": reliability,
        "reliability_chart": charts.draw_reliability(reliability) if reliability else "",
        "weights_chart": charts.draw_weights(weights) if weights else "",
        "weights_table": _weights_table(weights) if weights else [],
        "class_weights": _class_weights(weights, config.get("classes")) if weights else [],
        "weight_columns": weights.columns if weights else [],
        "pairs": pairs,
        "pairs_chart": (
            charts.draw_pairs(pairs, config.get("target", "")) if pairs and pairs.rows else ""
        ),
    }


def _weights_table(weights: WeightHistograms) -> list[tuple[str, int, float | None]]:
    return [
        (name, int(rows), float(total / rows) if rows else None)
        for name, rows, total in zip(weights.columns, weights.rows, weights.sums, strict=True)
    ]


def _class_weights(weights: WeightHistograms, classes: Any) -> list[dict[str, Any]]:
    """The largest classes, each with the mean weight and a small histogram of each modality."""
    rows = weights.rows_by_class.max(axis=1, initial=0)
    largest = sorted(range(len(rows)), key=lambda index: -rows[index])[:_WEIGHED_CLASSES]
    return [
        {
            "name": classes[index],
            "rows": int(rows[index]),
            "columns": [
                {
                    "mean": float(total / count) if count else None,
                    "path": charts.sparkline(counts),
                }
                for total, count, counts in zip(
                    weights.sums_by_class[index],
                    weights.rows_by_class[index],
                    weights.by_class[index],
                    strict=True,
                )
            ],
        }
        for index in largest
        if rows[index]
    ]


def _worst(
    seen: Mapping[str, Any],
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    shards: str | None,
) -> dict[str, Any]:
    """The worst rows, each with its original where the shards are there."""
    if "worst" not in seen:
        return {"worst": [], "originals": {}, "shards_note": "", "pictures": False}
    rows = seen["worst"].rows
    originals, note = _originals(rows, config, manifest, shards)
    modalities = {column.get("modality", column["name"]) for column in config.get("columns", [])}
    return {
        "worst": rows,
        "originals": originals,
        "shards_note": note,
        "pictures": "image" in modalities
        or any(o.picture or o.problem for o in originals.values()),
    }


def _originals(
    rows: list[WorstRow],
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    shards: str | None,
) -> tuple[dict[tuple[str, str], Original], str]:
    note = ""
    if shards is None:
        shards, note = find_shards(config, manifest)
    if shards is None:
        return {}, note
    try:
        names = check_shards(shards, config)
    except MmfeatError as error:
        return {}, error.rule
    wanted: dict[str, list[str]] = {}
    for row in rows:
        if row.shard in names:  # a name from a file is no path
            wanted.setdefault(row.shard, []).append(row.key)
    return read_originals(shards, wanted), ""
