"""One record as a page or a terminal shows it, from the rows that stores have of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmfeat.inspection.rows.store_rows import REASON_OF
from mmfeat.records import is_missing

SHOWN_CLASSES = 5
"""Most likely classes that are shown of a record."""

_MISALIGNMENT = ("misalignment", "alignment")
_PREDICTION = "_prediction"


@dataclass(frozen=True)
class PreviewRow:
    """What the stores know of a record.

    Attributes:
        key: its `__key__`.
        shard: name of its shard; empty if it is not known.
        status: `ok`, `partial` or `failed`; empty if the store has none.
        reason: why it lacks a part; empty if it lacks none.
        labels: true labels; empty if they are not known.
        predictions: predicted labels; empty if there are none.
        classes: most likely classes and their probabilities, best first; and those of the true
            and predicted labels.
        confidence: probability of the prediction; None if there is none.
        error: absolute error of a number that is predicted.
        loss: loss of the record, if the store has it.
        weights: column → modality weight.
        misalignment: probability that its modalities belong to different records.
        absent: feature column → why the record has no feature.
        metadata: other columns.
        is_wrong: whether the prediction differs from the true labels; None if one is not known or
            they are no classes.
    """

    key: str
    shard: str = ""
    status: str = ""
    reason: str = ""
    labels: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    classes: list[tuple[str, float]] = field(default_factory=list)
    confidence: float | None = None
    error: float | None = None
    loss: float | None = None
    weights: dict[str, float] = field(default_factory=dict)
    misalignment: float | None = None
    absent: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    is_wrong: bool | None = None


def make_row(
    values: Mapping[str, Any], shard: str, target: str, metadata: Mapping[str, Any] | None = None
) -> PreviewRow:
    """Return a record from its row in a store.

    Args:
        values: column → value of the row.
        shard: shard of the row; empty = the one that the row names.
        target: column with the true labels; empty = the column `target` of a model's rows.
        metadata: its row in the shards, for other stores.
    """
    values = first_model(values)
    known = {**(metadata or {}), **{k: v for k, v in values.items() if v is not None}}
    true = values.get("target") if "target" in values and "loss" in values else None
    true = true if true is not None else known.get(target) if target else None
    prediction, number = values.get("prediction"), _number(true)
    probabilities = _probabilities(values)
    own = set(_used_columns(values)) | {target, "__key__", "status", "reason"}
    return PreviewRow(
        key=str(values["__key__"]),
        shard=shard or str(values.get("shard") or ""),
        status=str(known.get("status") or ""),
        reason=str(values.get("reason") or (metadata or {}).get("reason") or ""),
        labels=_labels(true),
        predictions=_labels(prediction),
        classes=_shown_classes(probabilities, {*_labels(true), *_labels(prediction)}),
        confidence=_confidence(values, probabilities, prediction),
        error=_error(prediction, number),
        loss=_number(values.get("loss")),
        weights={
            name[2:]: weight
            for name, value in values.items()
            if name.startswith("w_") and (weight := _number(value)) is not None
        },
        misalignment=_number(values.get("misalignment")),
        absent={
            **{n[len(REASON_OF) :]: str(v) for n, v in values.items() if n[:1] == REASON_OF and v},
            **{n[8:]: "missing" for n, v in values.items() if n[:8] == "present_" and v is False},
        },
        metadata={k: v for k, v in known.items() if k not in own and not is_missing(v)},
        is_wrong=None if "misalignment" in values else _is_wrong(true, prediction),
    )


def first_model(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the predictions of the first model under their usual names.

    Predictions of several models have the names of their models before theirs. Of the other models,
    the predictions and their probabilities are kept, with the names of the models; so are other
    columns of the first, for example `without_COLUMN`. Vectors become their length.
    """
    row = _shorten_vectors(values)
    models = model_names(row)
    if not models:
        return row
    kept: dict[str, Any] = {}
    for name, value in row.items():
        model = _model_of(name, models)
        own = name.removeprefix(f"{model}_")
        if model == models[0]:
            kept[own if _is_standard(own) else name] = value
        elif not model or own in ("prediction", "probability"):
            kept[name] = value
    return kept


def split_models(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return model → its columns of a row, under their usual names; empty for one model."""
    row = _shorten_vectors(values)
    models = model_names(row)
    split: dict[str, dict[str, Any]] = {model: {} for model in models}
    for name, value in row.items():
        if model := _model_of(name, models):
            split[model][name.removeprefix(f"{model}_")] = value
    return split


def model_names(values: Mapping[str, Any]) -> list[str]:
    """Return the models whose names begin columns of predictions; empty for one model."""
    if "prediction" in values:
        return []
    names = [name.removesuffix(_PREDICTION) for name in values if name.endswith(_PREDICTION)]
    return [*filter(None, names)]


def _model_of(name: str, models: Sequence[str]) -> str:
    """Return the model of a column, the one with the longest name; empty if it has none."""
    return max((m for m in models if name.startswith(f"{m}_")), key=len, default="")


def _is_standard(name: str) -> bool:
    names = ("prediction", "probability", "top_classes", "top_probabilities", *_MISALIGNMENT)
    return name in names or name.startswith(("p_", "w_"))


def _shorten_vectors(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if name.endswith("top_probabilities") else _shorten_vector(value)
        for name, value in values.items()
    }


def _shorten_vector(value: Any) -> Any:
    is_vector = isinstance(value, list) and value and all(isinstance(v, float) for v in value)
    return f"{len(value)} values" if is_vector else value


def _is_wrong(true: Any, prediction: Any) -> bool | None:
    """Return whether predicted labels differ from the true ones; an empty list is an answer."""
    if is_missing(true) or is_missing(prediction) or isinstance(prediction, float):
        return None
    return set(_labels(true)) != set(_labels(prediction))


def find_target(
    records: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    classes: Sequence[str],
    target: str = "",
) -> str:
    """Return the column of the metadata that has the true labels; empty if none has.

    Args:
        records: row of the predictions and metadata of some records.
        classes: the classes of the model; empty = it has none, or is not known.
        target: the column that the model was trained on, if it is known.

    Returns:
        The target, if the model has no classes or a value is one of them; else `label`, or the
        first other column, all of whose values are classes.
    """
    rows = [
        {**{k: v for k, v in row.items() if k not in _used_columns(row)}, **metadata}
        for row, metadata in ((first_model(row), metadata) for row, metadata in records)
    ]
    columns = dict.fromkeys(["label", *(name for row in rows for name in row)])
    columns = {name: None for name in columns if not name.endswith(_PREDICTION)}
    known = set(classes)
    found = {label for row in rows if target in columns for label in _labels(row.get(target))}
    if found & known or (found and not classes):  # records may have labels that are no classes
        return target
    for column in columns:
        values = {label for row in rows for label in _labels(row.get(column))}
        if values and values <= known:
            return column
    return ""


def _used_columns(values: Mapping[str, Any]) -> Sequence[str]:
    """Return the columns of a row of predictions that have a place of their own."""
    if "prediction" not in values and "misalignment" not in values:
        return [name for name in values if name.startswith(REASON_OF)]
    prefixes = ("p_", "w_", "present_", REASON_OF)
    names = ("prediction", "probability", "top_classes", "top_probabilities", "loss", "target")
    return [n for n in values if n.startswith(prefixes) or n in (*names, *_MISALIGNMENT, "shard")]


def _probabilities(values: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the classes with their probabilities, best first."""
    names, numbers = values.get("top_classes"), values.get("top_probabilities")
    if isinstance(names, list) and isinstance(numbers, list):
        pairs = zip(names, map(_number, numbers), strict=False)
        return [(str(name), number) for name, number in pairs if number is not None]
    found = [
        (name[2:], number)
        for name, value in values.items()
        if name.startswith("p_") and (number := _number(value)) is not None
    ]
    return sorted(found, key=lambda item: -item[1]) if "prediction" in values else []


def _shown_classes(
    probabilities: Sequence[tuple[str, float]], labels: set[str]
) -> list[tuple[str, float]]:
    """Return the most likely classes and those of the labels, of which there may be many."""
    first, rest = probabilities[:SHOWN_CLASSES], probabilities[SHOWN_CLASSES:]
    return [*first, *[item for item in rest if item[0] in labels][:SHOWN_CLASSES]]


def _confidence(
    values: Mapping[str, Any], probabilities: Sequence[tuple[str, float]], prediction: Any
) -> float | None:
    if (probability := _number(values.get("probability"))) is not None:
        return probability
    if isinstance(prediction, str):
        return dict(probabilities).get(prediction)
    return probabilities[0][1] if probabilities else None


def _error(prediction: Any, number: float | None) -> float | None:
    """Return the absolute error of a predicted number; None if it is no finite number."""
    if not isinstance(prediction, float) or number is None:
        return None
    return _number(abs(prediction - number))


def _labels(value: Any) -> list[str]:
    if value is None or is_missing(value):
        return []
    if isinstance(value, list):
        return [str(item) for item in value]
    return [f"{value:.6g}" if isinstance(value, float) else str(value)]


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
