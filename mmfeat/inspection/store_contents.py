"""Read what the rows of a store contain: values of each column, and some sample rows."""

from typing import Any

import pyarrow as pa

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.inspection.column_summary import ColumnSummary
from mmfeat.inspection.rows import REASON_OF, StoreRows, choose_rows, open_rows
from mmfeat.inspection.search_summary import describe_search
from mmfeat.records import to_json_value
from mmfeat.shards import find_standard_columns
from mmfeat.storage import files, read_document
from mmfeat.system import waiting_for

_MAX_ROWS = 200_000
_MAX_SHARDS = 32
"""Rows and shards that are read. Larger stores are described by a part of them."""

_MAX_COLUMNS = 24
_SAMPLES = 3
_MAX_CHARACTERS = 120
_SEED = 0


def read_contents(path: str) -> dict[str, Any]:
    """Return what the rows of a finished store contain, JSON-ready.

    At most 32 shards and about 200,000 rows are read, in batches.

    Returns:
        `rows_read`; `columns`: column → its summary (`ColumnSummary.to_json`); `samples`: three
        rows, chosen at random; of a model also `metrics`, and `search` if a search chose it.
        `problem` if a file is damaged.
    """
    try:
        store = open_rows(path)
        with waiting_for(f"reading rows of {path}"):
            return _read(store) | (_read_metrics(path) if store.kind == "model" else {})
    except (DamagedFileError, OSError) as error:
        return {"problem": str(error)}
    except MmfeatError as error:
        return {"problem": error.rule}


def _read(store: StoreRows) -> dict[str, Any]:
    schema = store.read_schema()
    names = _choose_columns(schema)
    summaries = {name: ColumnSummary(str(schema.field(name).type)) for name in names}
    rows = 0
    for shard in _choose_shards(store):
        for table in store.iter_rows(shard, names):
            rows += len(table)
            for name, summary in summaries.items():
                summary.add(table[name])
    return {
        "rows_read": rows,
        "columns": {name: summary.to_json() for name, summary in summaries.items()},
        "samples": _read_samples(store, names),
    }


def _choose_shards(store: StoreRows) -> list[str]:
    """Return the shards to read: all, or some at random, with about `_MAX_ROWS` rows."""
    chosen = choose_rows(store.shards, _MAX_SHARDS * 100, _SEED)
    shards: list[str] = []
    rows = 0
    for shard in list(chosen)[:_MAX_SHARDS]:
        if shards and rows + store.shards[shard] > _MAX_ROWS:
            break
        shards.append(shard)
        rows += store.shards[shard]
    return shards


def _choose_columns(schema: pa.Schema) -> list[str]:
    """Return the columns to summarize: no probability of a class, no digest of a medium."""
    hidden = find_standard_columns(schema.names) | {"__key__", "error", "input_row"}
    is_prediction = "prediction" in schema.names
    names = [
        name
        for name in schema.names
        if name not in hidden - {"status", "reason"}
        and not (is_prediction and name.startswith(("p_", "top_")))
        and not _is_vector(schema.field(name).type)
    ]
    return names[:_MAX_COLUMNS]


def _is_vector(type_: pa.DataType) -> bool:
    is_list = pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_)
    return is_list and pa.types.is_floating(type_.value_type)


def _read_samples(store: StoreRows, names: list[str]) -> list[dict[str, Any]]:
    shards = dict(store.shards)
    if store.is_ranked:
        shards = {name: min(rows, _SAMPLES) for name, rows in shards.items()}
    samples = []
    for shard, rows in choose_rows(shards, _SAMPLES, _SEED).items():
        table = store.read_rows(shard, rows)
        kept = [n for n in table.column_names if n in ("__key__", *names) or n[:1] == REASON_OF]
        samples += [
            {
                name.replace(REASON_OF, "no "): _shorten(value)
                for name, value in row.items()
                if value is not None
            }
            for row in table.select(kept).to_pylist()
        ]
    return samples


def _shorten(value: Any) -> Any:
    value = to_json_value(value)
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "…"


def _read_metrics(path: str) -> dict[str, Any]:
    """Return the metric of a model on each split, and its number of parameters."""
    metrics = read_document(files.join(path, "metrics.json"), dict[str, Any]) or {}
    name = metrics.get("metric")
    found: dict[str, Any] = {}
    for split in ("validation", "test"):
        values = metrics.get(split)
        if isinstance(values, dict) and isinstance(values.get(name), int | float):
            found[split] = {name: values[name], "rows": values.get("rows")}
    facts = {
        "metrics": found,
        "parameters": metrics.get("parameters"),
        "search": describe_search(metrics),
    }
    return {name: value for name, value in facts.items() if value}
