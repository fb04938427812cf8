"""Describe one record: what its store and the stores before it know of it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.inspection.config import ShowConfig
from mmfeat.inspection.previews import describe_parts
from mmfeat.inspection.rows import (
    FeatureRows,
    ShardRows,
    SourceRecords,
    StoreRows,
    drop_standard_columns,
    first_model,
    make_row,
    open_rows,
    split_models,
)
from mmfeat.records import STATUS_COLUMNS, safe_key, to_json_value
from mmfeat.system import waiting_for


def describe_record(config: ShowConfig) -> dict[str, Any]:
    """Return everything about one record, JSON-ready.

    Returns:
        `key`, `path`, `kind`; the row of the store under its kind; and the rows of the features
        and the shards that it was made from, under `features` and `shards`. A store that is not
        available has only `problem`.

    Raises:
        MmfeatError: the path has no finished store, no record has the key, or `--shards` has other
            shards.
        DamagedFileError: a file of the store is damaged.
    """
    store = open_rows(config.path)
    with waiting_for(f"looking for {config.key} in {config.path}"):
        found = store.find_row(config.key)
        if found is None and (key := safe_key(config.key)) != config.key:  # as the table has it
            found, config = store.find_row(key), replace(config, key=key)
    if found is None:
        raise MmfeatError(
            f"a record of {config.path} must have the key", got=config.key,
            cure="mmfeat preview and to_pandas() list the keys",
        )  # fmt: skip
    shard, number = found
    values = store.read_rows(shard, [number]).to_pylist()[0]
    shard = shard or str(values.get("shard") or "")
    facts: dict[str, Any] = {"key": config.key, "path": config.path, "kind": store.kind}
    if not store.has_metadata:
        facts[store.kind] = {"shard": shard, **_describe_prediction(values)}
    source = SourceRecords(store, config.shards)
    features = _open_features(store)
    if features:
        facts["features"] = _describe_features(features, shard, config.key)
    facts["shards"] = (
        _describe_sharded(ShardRows(source.folder), shard, config.key)
        if source.folder
        else {"problem": source.problem}
    )
    return facts


def _describe_prediction(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says of the record; of several models, a section for each."""
    models = split_models(values)
    owned = {f"{model}_{name}" for model, columns in models.items() for name in columns}
    common = {name: value for name, value in values.items() if name not in owned}
    facts = _describe_model(common)
    for model, columns in models.items():
        facts[f"model {model}"] = _describe_model({"__key__": common.get("__key__"), **columns})
    return facts


def _describe_model(values: Mapping[str, Any]) -> dict[str, Any]:
    values = first_model(values)
    row = make_row(values, "", "")
    facts = {
        "status": row.status,
        "reason": row.reason,
        "split": values.get("split"),
        "true": values.get("target"),
        "prediction": values.get("prediction"),
        "confidence": row.confidence,
        "probabilities": dict(row.classes),
        "modality weights": row.weights,
        "misalignment": row.misalignment,
        "loss": row.loss,
        "absent": row.absent,
        "columns": {
            k: to_json_value(v) for k, v in row.metadata.items() if k not in ("split", "rank")
        },
        "rank": values.get("rank"),
    }
    return {name: value for name, value in facts.items() if value not in (None, "", {})}


def _open_features(store: StoreRows) -> FeatureRows | None:
    """Return the features of a store; None if they are not available."""
    if isinstance(store, FeatureRows):
        return store
    path = store.find_features()
    if not path:
        return None
    try:
        features = FeatureRows(path)
    except (MmfeatError, OSError):
        return None
    return features if features.features_hash == store.features_hash else None


def _describe_features(features: FeatureRows, shard: str, key: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"path": features.path, "shard": shard}
    try:
        number = features.find_in_shard(shard, key)
        if number is None:
            return facts | {"problem": "the record is not in them"}
        for name, column in features.store.columns.items():
            rows = features.store.read_column(name, shard)
            if rows.present[number]:
                summary = _describe_vector(rows.vectors(number))
            else:
                summary = {"reason": rows.reasons[number].as_py()}
            facts[name] = {"slot": column.slot, "encoder": column.encoder.get("name"), **summary}
    except (DamagedFileError, KeyError) as error:
        facts["problem"] = str(error)
    return facts


def _describe_vector(vector: np.ndarray) -> dict[str, Any]:
    values = vector.astype(np.float64)
    norms = np.linalg.norm(values, axis=-1)
    return {
        "shape": "x".join(map(str, vector.shape)),
        "dtype": str(vector.dtype),
        "norm": _finite(np.mean(norms)),
        "min": _finite(values.min()),
        "max": _finite(values.max()),
        "zeros": f"{float(np.mean(values == 0)):.0%}",
    }


def _finite(value: Any) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def _describe_sharded(shards: ShardRows, shard: str, key: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"path": shards.path, "shard": shard}
    try:
        number = shards.find_in_shard(shard, key)
        if number is None:
            return facts | {"problem": "the record is not in them"}
        table = shards.read_rows(shard, [number])
    except (DamagedFileError, KeyError) as error:
        return facts | {"problem": str(error)}
    values = table.to_pylist()[0]
    metadata = drop_standard_columns(table).to_pylist()[0]
    return facts | {
        "input row": values.get("input_row"),
        **{name: values[name] for name in STATUS_COLUMNS[1:] if values.get(name) is not None},
        "parts": describe_parts(shards.path, shard, key),
        "columns": {k: to_json_value(v) for k, v in metadata.items() if k not in STATUS_COLUMNS},
    }
