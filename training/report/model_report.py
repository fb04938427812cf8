"""Write the report of a model.

config.json, metrics.json, log.jsonl, predictions.parquet, shards → MODEL/report.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmfeat.inspection import check_source_shards, load_previews
from mmfeat.pages import REPORT, clean_text, render_page, write_page
from mmfeat.storage import files, read_document
from mmfeat.store import MANIFEST_FILE, check_file
from training.report.charts.confusion import ConfusionSummary, summarize_confusion
from training.report.charts.curves import draw_curves, read_curves
from training.report.charts.reliability import Reliability, draw_reliability
from training.report.charts.residuals import SCATTER_POINTS, Residuals, draw_residuals
from training.report.charts.weights import WeightHistograms, draw_sparkline, draw_weights
from training.report.model_documents import read_config, read_metrics
from training.report.prediction_batches import PredictionSchema, find_reported_split, iter_batches
from training.report.reported_records import describe_records, merge_rows
from training.report.text_examples import EXAMPLES, MAX_CHARACTERS, TextExamples
from training.report.top_losses import CellRows, ReportedRow, TopLosses, choose_cells

LOG, PREDICTIONS = "log.jsonl", "predictions.parquet"

TOP_LOSSES = 24
"""Rows with the largest loss that a page shows."""

_MAX_CLASSES = 400
_MAX_WEIGHT_CLASSES = 24
_FIRST_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "nll", "ece", "cider")


def write_model_report(
    model_dir: str,
    manifest: Mapping[str, Any] | None = None,
    *,
    shards: str | None = None,
    worst: int = TOP_LOSSES,
) -> str:
    """Write MODEL/report.html and return its path.

    Args:
        model_dir: directory that `mmfeat train` wrote.
        manifest: its manifest, if it is not written yet.
        shards: directory of the shards; None = find it through the features. If it is not
            available, the page says so and shows no images and texts.
        worst: number of rows with the largest loss to show.

    Raises:
        MmfeatError: the directory has no finished model, or `shards` holds other shards than those
            of the model's features.
        DamagedFileError: config.json, metrics.json or predictions.parquet is damaged.
    """
    if manifest is None:
        manifest = read_document(files.join(model_dir, MANIFEST_FILE), dict[str, Any]) or {}
    config = read_config(model_dir, manifest.get("chosen"))
    metrics = read_metrics(model_dir)
    if shards is not None:
        check_source_shards(shards, config)
    if recorded := manifest.get("files", {}).get(PREDICTIONS):
        check_file(files.join(model_dir, PREDICTIONS), recorded)
    split = _reported_split(model_dir, metrics)
    split_metrics = metrics.get("test" if split == "test" else "validation") or {}
    confusion = _confusion(split_metrics, config)
    statistics = _read_statistics(model_dir, split, config, metrics, worst, confusion)
    page = render_page(
        "training.report",
        "model.html",
        script="csv.js records.js",
        name=clean_text(files.join(model_dir).rstrip("/").rpartition("/")[2], 80),
        config=config,
        manifest=manifest,
        metrics=metrics,
        split=split,
        split_metrics=split_metrics,
        scores=_scores(metrics),
        scatter_points=SCATTER_POINTS,
        curves=_curves(model_dir, metrics),
        candidates=_candidates(metrics),
        confusion=confusion,
        classes=_largest_classes(split_metrics),
        all_classes=len(split_metrics.get("per_class") or {}),
        **_charts(statistics, config),
        **_texts(statistics.examples, split_metrics),
        **_records(statistics, config, manifest, shards),
    )
    return write_page(files.join(model_dir, REPORT), page)


@dataclass(frozen=True)
class _Statistics:
    """Statistics over the rows of the reported split; None if they do not apply.

    Attributes:
        top_losses: rows with the largest losses.
        cell_rows: rows of cells of the confusion matrix.
    """

    top_losses: list[ReportedRow] = field(default_factory=list)
    cell_rows: list[ReportedRow] = field(default_factory=list)
    weights: WeightHistograms | None = None
    reliability: Reliability | None = None
    residuals: Residuals | None = None
    examples: TextExamples = field(default_factory=TextExamples)


def _reported_split(folder: str, metrics: Mapping[str, Any]) -> str:
    """Return `test` or `val`."""
    path = files.join(folder, PREDICTIONS)
    if not files.exists(path):
        return "test" if metrics.get("test") else "val"
    return find_reported_split(path)


def _read_statistics(
    folder: str,
    split: str,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    top_losses: int,
    confusion: ConfusionSummary | None,
) -> _Statistics:
    """Collect the statistics in one pass over the predictions."""
    path = files.join(folder, PREDICTIONS)
    if not files.exists(path):
        return _Statistics()
    schema = PredictionSchema(
        task=config.get("task", "multiclass"),
        classes=config.get("classes") or [],
        columns=[column["name"] for column in config.get("columns", [])],
    )
    is_text = schema.task == "describe"
    losses, weights, residuals = TopLosses(top_losses), WeightHistograms(schema), Residuals()
    cells = CellRows(choose_cells(confusion) if top_losses else {})
    examples = TextExamples(min(EXAMPLES, top_losses) if is_text else 0)
    reliability = Reliability((metrics.get("temperature") or {}).get("value"))
    for batch in iter_batches(path, split, schema):
        weights.add(batch)
        if is_text:
            examples.add(batch)
            continue
        losses.add(batch)
        cells.add(batch)
        if schema.task == "regression":
            residuals.add(batch)
        else:
            reliability.add(batch)
    return _Statistics(
        losses.rows,
        cells.rows,
        weights if weights.rows.any() else None,
        reliability if reliability.after.rows.any() else None,
        residuals if residuals.rows else None,
        examples,
    )


def _scores(metrics: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return name, validation value and test value of each metric, the best known first."""
    validation, test = metrics.get("validation") or {}, metrics.get("test") or {}
    names = [
        name
        for name in dict.fromkeys([metrics.get("metric"), *_FIRST_METRICS, *validation, *test])
        if any(isinstance(values.get(name), float) for values in (validation, test))
    ]
    return [(name, validation.get(name), test.get(name)) for name in names]


def _candidates(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the candidates, and before them that of an ensemble of several."""
    rows: list[dict[str, Any]] = metrics.get("candidates") or []
    search = metrics.get("search") or {}
    if rows and len(search.get("weights", {})) > 1:
        ensemble = {"model": metrics.get("model"), **search.get("chosen", {}), "weight": 1.0}
        rows = [{name: ensemble.get(name, "") for name in rows[0]}, *rows]
    return rows


def _curves(folder: str, metrics: Mapping[str, Any]) -> Any:
    metric = metrics.get("metric", "")
    curves = read_curves(files.join(folder, LOG), metric, metrics)
    if all(len(curve.epochs) < 2 for curve in curves):
        return ""  # Models solved in closed form have no curve.
    return draw_curves(curves, metric, metrics.get("best_epoch"))


def _confusion(
    split_metrics: Mapping[str, Any], config: Mapping[str, Any]
) -> ConfusionSummary | None:
    matrix = split_metrics.get("confusion_matrix")
    classes = split_metrics.get("classes") or config.get("classes")
    return summarize_confusion(matrix, classes) if matrix and classes else None


def _largest_classes(split_metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the classes with their metrics, most rows first."""
    classes = list((split_metrics.get("per_class") or {}).items())
    return sorted(classes, key=lambda item: -item[1].get("support", 0))[:_MAX_CLASSES]


def _charts(statistics: _Statistics, config: Mapping[str, Any]) -> dict[str, Any]:
    weights, reliability = statistics.weights, statistics.reliability
    residuals = statistics.residuals
    return {
        "reliability": reliability,
        "reliability_chart": draw_reliability(reliability) if reliability else "",
        "weights_chart": draw_weights(weights) if weights else "",
        "weights_table": _weights_table(weights) if weights else [],
        "class_weights": _class_weights(weights, config.get("classes")) if weights else [],
        "weight_columns": weights.columns if weights else [],
        "residuals": residuals,
        "residuals_chart": draw_residuals(residuals, config["target"]) if residuals else "",
    }


def _weights_table(weights: WeightHistograms) -> list[tuple[str, int, float | None]]:
    return [
        (name, int(rows), float(total / rows) if rows else None)
        for name, rows, total in zip(weights.columns, weights.rows, weights.sums, strict=True)
    ]


def _class_weights(weights: WeightHistograms, classes: Any) -> list[dict[str, Any]]:
    """Return the largest classes, each with the mean and a sparkline of each modality weight."""
    rows = weights.rows_by_class.max(axis=1, initial=0)
    largest = sorted(range(len(rows)), key=lambda index: -rows[index])[:_MAX_WEIGHT_CLASSES]
    return [
        {
            "name": classes[index],
            "rows": int(rows[index]),
            "columns": [
                {
                    "mean": float(total / count) if count else None,
                    "path": draw_sparkline(counts),
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


def _texts(examples: TextExamples, split_metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of generated texts."""
    best = "The rows whose references the model finds most likely."
    worst = "The rows whose references the model finds least likely: wrong texts come first."
    has_texts = bool(examples.best)
    return {
        "examples": [
            ("Best texts", best, examples.best),
            ("Worst texts", worst, examples.worst),
        ]
        if has_texts
        else [],
        "baselines": split_metrics.get("baselines"),
        "copies": split_metrics.get("copies"),
        "limit": MAX_CHARACTERS,
    }


def _records(
    statistics: _Statistics,
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    shards: str | None,
) -> dict[str, Any]:
    """Return the records of the page and their previews."""
    rows, examples = merge_rows(statistics.top_losses, statistics.cell_rows), statistics.examples
    shown = [(item.row.shard, item.row.key) for _, item in rows]
    shown += [(row.shard, row.key) for row in (*examples.best, *examples.worst)]
    previews, note = load_previews(shown, config, manifest, shards)
    modalities = {column.get("modality", column["name"]) for column in config.get("columns", [])}
    return {
        **describe_records(rows, previews),
        "previews": previews,
        "shards_note": note,
        "has_images": "image" in modalities
        or any(preview.thumbnails for preview in previews.values()),
    }
