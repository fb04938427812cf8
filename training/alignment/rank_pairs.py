"""Rank the records of a store by how little their modalities belong together.

shards → scores → external sort → misaligned.parquet: memory does not grow with the store.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.saved_model import WEIGHTS, LoadedModel, load_model
from mmfeat.models.tasks import Align
from mmfeat.models.tasks.align import ALIGNMENT, MISALIGNMENT
from mmfeat.records.record import STATUS_COLUMNS
from mmfeat.sharding.external_sort import external_sort
from mmfeat.store import files
from mmfeat.store.directory import lock_directory, open_run
from mmfeat.store.manifest import finished_manifest, read_manifest, write_manifest
from mmfeat.system.console import print_out, show_summary, show_table
from mmfeat.system.progress import ProgressBar
from training.alignment.align_report import AlignReportConfig
from training.alignment.cross_fit import Judges, cross_fit
from training.data.exclusions import MISALIGNED_FILE
from training.data.sample_rows import NO_PAIR, SUPERSEDED, read_sample_rows
from training.data.split_rule import SplitRule, decode_split
from training.objectives import objective_for

_SHOWN = 20
_PART = 8192

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

Line = list[Any]
"""Key, shard, split, misalignment, alignment."""


def rank_pairs(config: AlignReportConfig) -> None:
    """Write the list and show its first records; a finished list is left alone.

    Raises:
        MmfeatError: the model is no alignment, other features than the model's, or no record that
            has a pair.
    """
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
        config_hash = open_run(config.output, "ranking", _claim(config, store))
        manifest = finished_manifest(config.output, config_hash)
        if manifest:
            print_out(f"{config.output} holds this list already; nothing to do")
        else:
            judges = cross_fit(model, config) if config.cross_fit else Judges([model])
            manifest = _write(config, store, model, judges, config_hash)
    _show(config.output, manifest)


def _claim(config: AlignReportConfig, store: FeatureStore) -> dict[str, Any]:
    return {
        "model": read_manifest(config.model, "model")["files"][WEIGHTS]["sha256"],
        "features": store.manifest["config_hash"],
        "most": config.most,
        "cross_fit": config.cross_fit,
    }


def _write(
    config: AlignReportConfig,
    store: FeatureStore,
    model: LoadedModel,
    judges: Judges,
    config_hash: str,
) -> dict[str, Any]:
    left_out: Counter[str] = Counter()
    ranked = islice(external_sort(_scored(store, model, judges, left_out)), config.most)
    listed = 0
    with files.create(files.join(config.output, MISALIGNED_FILE)) as output:
        writer = pq.ParquetWriter(output, _SCHEMA, compression="zstd")
        while part := list(islice(ranked, _PART)):
            writer.write_table(_table(part, listed + 1))
            listed += len(part)
        writer.close()
    records = store.records - left_out.pop(SUPERSEDED, 0)
    if not listed:
        raise MmfeatError(
            f"none of the {records:,} records of {store.path} has two of the modalities",
            got=", ".join(model.column_names),
        )
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


def _scored(
    store: FeatureStore, model: LoadedModel, judges: Judges, left_out: Counter[str]
) -> Iterator[bytes]:
    """A line for each record that has a pair: what sorts it, and what is written of it."""
    rule = _rule(store, model)
    objective = objective_for(model.task, model.target)
    with ProgressBar("align-report", store.records, "records") as bar:
        done = 0
        for shard, columns in store.read(model.column_names):
            rows = read_sample_rows(store, shard, objective, rule or SplitRule(), columns)
            scores, scorable = judges.judge(rows.keys, columns)
            left_out[NO_PAIR] += int((~scorable & ~rows.retried).sum())
            left_out[SUPERSEDED] += int(rows.retried.sum())
            for row in np.flatnonzero(scorable):
                alignment, misalignment = map(float, scores[row, [ALIGNMENT, MISALIGNMENT]])
                split = decode_split(int(rows.splits[row])) if rule else ""
                line = [rows.keys[row], shard, split or None, misalignment, alignment]
                # The worst first; where float32 cannot tell them apart, the lower cosine.
                order = f"{1 - misalignment:.9f} {alignment + 1:.6f}"
                yield f"{order}\t{json.dumps(line)}\n".encode()
            done += len(rows.keys)
            bar.at(done)


def _rule(store: FeatureStore, model: LoadedModel) -> SplitRule | None:
    """The model's split rule; None where this store lacks a column it looks at."""
    rule = SplitRule(**model.split)
    available = {*store.samples_schema.names} - {*STATUS_COLUMNS}
    return rule if available >= {*rule.columns} else None


def _table(lines: Iterable[bytes], first: int) -> pa.Table:
    rows: list[Line] = [json.loads(line.partition(b"\t")[2]) for line in lines]
    columns: list[Sequence[Any]] = [*zip(*rows, strict=True), range(first, first + len(rows))]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _show(folder: str, manifest: dict[str, Any]) -> None:
    path = files.join(folder, MISALIGNED_FILE)
    with files.open_input(path) as file, pq.ParquetFile(file) as table:
        batch = next(table.iter_batches(batch_size=_SHOWN))
    names = ["rank", "__key__", "split", "misalignment", "alignment"]
    show_table(
        "modalities that disagree most",
        names,
        [
            [
                row["rank"],
                row["__key__"],
                row["split"] or "-",
                row["misalignment"],
                row["alignment"],
            ]
            for row in batch.to_pylist()
        ],
    )
    totals = manifest["totals"]
    facts = {name: totals[name] for name in ("records", "ranked", "listed")}
    facts |= {f"left out: {reason}": rows for reason, rows in totals["left_out"].items() if rows}
    show_summary("align-report", facts | {"list": path})
