"""Write the page of `mmfeat preview`: chosen rows, their media, one file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.inspection.config import PreviewConfig
from mmfeat.inspection.previews import Preview
from mmfeat.inspection.rows import (
    PreviewRow,
    SourceRecords,
    StoreRows,
    choose_rows,
    drop_standard_columns,
    find_target,
    make_row,
    open_rows,
)
from mmfeat.pages import clean_text, render_page, write_page
from mmfeat.storage import files
from mmfeat.system import waiting_for

PREVIEW = "preview.html"

MAX_MEDIA_CHARACTERS = 24 << 20
"""Most characters of thumbnails and sounds on a page; later ones are left out."""

_MAX_OPTIONS = 300
"""Most values that a filter offers."""

_MAX_METADATA = 16
"""Most metadata columns that are shown of a record."""

_MAX_CELL = 1000
"""Most characters of a cell that are kept until the page is built."""

_MAX_LABELS = 50
_MAX_CHARACTERS = 200
"""Most labels of a record, and most characters of a label, a key or a value."""


@dataclass(frozen=True)
class PreviewRecord:
    """A record of the page: its row, and its media if they are found."""

    row: PreviewRow
    media: Preview | None


def write_preview(config: PreviewConfig) -> str:
    """Write the page and return its path.

    Memory is bounded by the number of records: rows are read in batches, and the page holds at
    most `MAX_MEDIA_CHARACTERS` of media.

    Raises:
        MmfeatError: the path has no finished store, the store has no column `--target`, or
            `--shards` has other shards.
        DamagedFileError: a file of the store is damaged.
    """
    store = open_rows(config.path)
    source = SourceRecords(store, config.shards)
    records = read_records(store, source, config)
    page = render_page(
        "mmfeat.inspection",
        "preview.html",
        script="csv.js records.js",
        name=clean_text(config.path.rstrip("/").rpartition("/")[2] or config.path, 80),
        kind=store.kind,
        records=records,
        all_records=sum(store.shards.values()),
        is_ranked=store.is_ranked,
        model=_name_of_first(store),
        seed=config.seed,
        problem=source.problem if store.kind != "shards" else "",
        filters=_filters([record.row for record in records]),
        columns=list(dict.fromkeys(name for record in records for name in record.row.weights)),
    )
    return write_page(config.output or files.join(config.path, PREVIEW), page)


def read_records(
    store: StoreRows, source: SourceRecords, config: PreviewConfig
) -> list[PreviewRecord]:
    """Return the records of a page, in the order of the store."""
    with waiting_for(f"reading rows of {config.path}"):
        rows = [_shorten(row) for row in _read_rows(store, source, config)]
    if config.target and not any(row.labels for row in rows):
        raise MmfeatError(
            "--target must name a column of the records",
            got=config.target,
            cure=f"Their columns are {', '.join(rows[0].metadata) if rows else 'none'}",
        )
    keys: dict[str, list[str]] = {}
    for row in rows:
        keys.setdefault(row.shard, []).append(row.key)
    with waiting_for("reading pictures, texts and sounds"):
        media = source.read_media(keys, sounds=True, characters=MAX_MEDIA_CHARACTERS)
    return [PreviewRecord(row, media.get((row.shard, row.key))) for row in rows]


def _read_rows(store: StoreRows, source: SourceRecords, config: PreviewConfig) -> list[PreviewRow]:
    """Return the chosen rows with their metadata, texts shortened."""
    shards = store.shards
    if store.is_ranked:
        shards = {name: min(rows, config.limit) for name, rows in shards.items()}
    found: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for shard, numbers in choose_rows(shards, config.limit, config.seed).items():
        table = store.read_rows(shard, numbers)
        if store.has_metadata:
            values = drop_standard_columns(table).to_pylist()
            metadata: dict[str, dict[str, Any]] = {}
        else:
            values = table.to_pylist()
            keys: dict[str, list[str]] = {}
            for row in values:
                keys.setdefault(shard or str(row.get("shard")), []).append(row["__key__"])
            metadata = source.read_metadata(keys)
        found += [(shard, _clip(row), _clip(metadata.get(row["__key__"], {}))) for row in values]
    target = config.target or _find_target(store, found)
    return [make_row(row, shard, target, metadata) for shard, row, metadata in found]


def _find_target(
    store: StoreRows, found: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]
) -> str:
    if store.kind != "predictions":
        return "label"
    records = [(row, metadata) for _, row, metadata in found]
    target = str(_first_model(store).get("target") or "")
    return find_target(records, store.classes, target if _has_labels(store) else "")


def _first_model(store: StoreRows) -> Mapping[str, Any]:
    """Return what the manifest of predictions says of their first model; empty if nothing."""
    models = store.manifest.get("models") if store.kind == "predictions" else None
    return models[0] if models else {}


def _name_of_first(store: StoreRows) -> str:
    """Return the model whose predictions the page compares; empty if there is only one."""
    several = len(store.manifest.get("models") or ()) > 1
    return clean_text(str(_first_model(store).get("name") or ""), 80) if several else ""


def _has_labels(store: StoreRows) -> bool:
    return _first_model(store).get("task") in ("multiclass", "multilabel", "regression")


def _clip(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose texts have a bounded size: a cell may have megabytes."""
    return {
        name: value[:_MAX_CELL] if isinstance(value, str) and name != "__key__" else value
        for name, value in row.items()
    }


def _shorten(row: PreviewRow) -> PreviewRow:
    """Return a row whose texts have a bounded size: a cell may have megabytes."""
    return replace(
        row,
        labels=[label[:_MAX_CHARACTERS] for label in row.labels[:_MAX_LABELS]],
        predictions=[label[:_MAX_CHARACTERS] for label in row.predictions[:_MAX_LABELS]],
        metadata={
            name: clean_text(value, _MAX_CHARACTERS)
            for name, value in list(row.metadata.items())[:_MAX_METADATA]
        },
    )


def _filters(rows: Sequence[PreviewRow]) -> dict[str, list[tuple[str, int]]]:
    """Return filter → values with the number of their records, the most frequent first."""
    counts: dict[str, Counter[str]] = {
        "status": Counter(row.status for row in rows if row.status),
        "reason": Counter(row.reason for row in rows if row.reason),
        "label": Counter(label for row in rows if row.error is None for label in row.labels),
        "predicted": Counter(
            label for row in rows if row.error is None for label in row.predictions
        ),
    }
    return {
        name: values.most_common(_MAX_OPTIONS) for name, values in counts.items() if len(values) > 1
    }
