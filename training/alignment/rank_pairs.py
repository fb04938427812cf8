"""Rank the records of a feature store by misalignment of their modalities.

shards → scores → external sort → misaligned.parquet. Memory does not grow with the store.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.models.saved_model import WEIGHTS, LoadedModel, load_model
from mmfeat.models.tasks import Align
from mmfeat.models.tasks.align import ALIGNMENT, MISALIGNMENT
from mmfeat.records import STATUS_COLUMNS
from mmfeat.storage import files, lock_directory
from mmfeat.store import (
    check_output,
    finished_manifest,
    iter_parquet,
    match_run,
    open_run,
    read_manifest,
    write_manifest,
)
from mmfeat.system import ProgressBar, external_sort, print_out, show_summary, show_table
from training.alignment.config import AlignReportConfig
from training.alignment.cross_fit import FoldModels, cross_fit
from training.data import (
    MISALIGNED_FILE,
    NO_PAIR,
    SUPERSEDED,
    SplitRule,
    decode_split,
    read_sample_rows,
)
from training.objectives.registry import objective_for

_SHOWN_ROWS = 20
_BATCH_ROWS = 8192

_SCHEMA = pa.schema(
    [
        ("__key__", pa.string()),
        ("shard", pa.string()),
        ("split", pa.string()),
        ("misalignment", pa.float32()),
        ("alignment", pa.float32()),
        ("rank", pa.int64()),
    ]
)


def rank_pairs(config: AlignReportConfig) -> None:
    """Write the ranking and print its first records. A finished ranking is kept.

    Raises:
        MmfeatError: the model is not an alignment, it was trained on other features, or no record
            has two of its modalities.
    """
    check_output(config.output, "ranking")
    torch.set_num_threads(config.threads)
    model = load_model(config.model)
    if not isinstance(model.task, Align):
        raise MmfeatError(
            f"the model in {model.path} must be an alignment",
            got=f"the task {model.task.name!r}",
            cure="Train one with: mmfeat train FEATURES OUTPUT --task align",
        )
    store = FeatureStore(config.features)
    model.check_columns(store.columns)
    with lock_directory(config.output):
        settings = _settings(config, store)
        manifest = finished_manifest(config.output, match_run(config.output, "ranking", settings))
        if manifest:
            print_out(f"{config.output} already holds this ranking; nothing to do")
        else:
            models = cross_fit(model, config) if config.cross_fit else FoldModels([model])
            manifest = _write_ranking(config, store, model, models, settings)
    _show_ranking(config.output, manifest)


def _settings(config: AlignReportConfig, store: FeatureStore) -> dict[str, Any]:
    """Return the settings that determine the ranking."""
    return {
        "model": read_manifest(config.model, "model")["files"][WEIGHTS]["sha256"],
        "features": store.manifest["config_hash"],
        "most": config.most,
        "cross_fit": config.cross_fit,
    }


def _write_ranking(
    config: AlignReportConfig,
    store: FeatureStore,
    model: LoadedModel,
    models: FoldModels,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Rank the records, then claim the output and write misaligned.parquet and the manifest."""
    left_out: Counter[str] = Counter()
    ranked = islice(external_sort(_score_lines(store, model, models, left_out)), config.most)
    first = next(ranked, None)
    if first is None:
        raise MmfeatError(
            f"none of the {store.records:,} records of {store.path} has two modalities of the "
            "model",
            got=", ".join(model.column_names),
        )
    config_hash = open_run(config.output, "ranking", settings)
    all_ranked = chain([first], ranked)
    listed = 0
    with files.create(files.join(config.output, MISALIGNED_FILE)) as output:
        writer = pq.ParquetWriter(output, _SCHEMA, compression="zstd")
        while lines := list(islice(all_ranked, _BATCH_ROWS)):
            writer.write_table(_table(lines, listed + 1))
            listed += len(lines)
        writer.close()
    records = store.records - left_out.pop(SUPERSEDED, 0)
    return write_manifest(
        config.output,
        "ranking",
        config_hash,
        files={MISALIGNED_FILE: output.info()},
        totals={
            "records": records,
            "ranked": records - left_out.total(),
            "listed": listed,
            "left_out": dict(left_out),
        },
    )


def _score_lines(
    store: FeatureStore, model: LoadedModel, models: FoldModels, left_out: Counter[str]
) -> Iterator[bytes]:
    """Yield one line per record with a pair: its sort key, and its values as JSON."""
    rule = _split_rule(store, model)
    objective = objective_for(model.task, model.target)
    with ProgressBar("align-report", store.records, "records") as bar:
        done = 0
        for shard, columns in store.read(model.column_names):
            rows = read_sample_rows(store, shard, objective, rule or SplitRule(), columns)
            scores, scorable = models.predict(rows.keys, columns)
            left_out[NO_PAIR] += int((~scorable & ~rows.retried).sum())
            left_out[SUPERSEDED] += int(rows.retried.sum())
            for row in np.flatnonzero(scorable & ~rows.retried):
                alignment, misalignment = map(float, scores[row, [ALIGNMENT, MISALIGNMENT]])
                split = decode_split(int(rows.splits[row])) if rule else ""
                values = [rows.keys[row], shard, split or None, misalignment, alignment]
                # Most misaligned first; ties in float32 are broken by the lower cosine.
                sort_key = f"{1 - misalignment:.9f} {alignment + 1:.6f}"
                yield f"{sort_key}\t{json.dumps(values)}\n".encode()
            done += len(rows.keys)
            bar.update(done)


def _split_rule(store: FeatureStore, model: LoadedModel) -> SplitRule | None:
    """Return the split rule of the model; None if the store lacks one of its columns."""
    rule = SplitRule.from_config(model.split)
    available = {*store.samples_schema.names} - {*STATUS_COLUMNS}
    return rule if available >= {*rule.columns} else None


def _table(lines: Iterable[bytes], first_rank: int) -> pa.Table:
    rows: list[list[Any]] = [json.loads(line.partition(b"\t")[2]) for line in lines]
    ranks = range(first_rank, first_rank + len(rows))
    columns: list[Sequence[Any]] = [*zip(*rows, strict=True), ranks]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _show_ranking(folder: str, manifest: dict[str, Any]) -> None:
    path = files.join(folder, MISALIGNED_FILE)
    names = ["rank", "__key__", "split", "misalignment", "alignment"]
    rows = next(iter_parquet(path, names, batch_rows=_SHOWN_ROWS)).to_pylist()
    show_table(
        "most misaligned records",
        names,
        [["-" if row[name] is None else row[name] for name in names] for row in rows],
    )
    totals = manifest["totals"]
    summary = {name: totals[name] for name in ("records", "ranked", "listed")}
    summary |= {f"left out: {reason}": n for reason, n in totals["left_out"].items() if n}
    show_summary("align-report", summary | {"list": path})
