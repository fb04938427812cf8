"""Write the groups of near-duplicates of a feature store.

    OUTPUT/duplicates.parquet    __key__, shard, group, group_size, score, keep; group after group
    OUTPUT/keep.parquet          __key__ of all records but the later ones of each group

`group` is the key of the record of the group that came first in the input, `score` the highest
similarity of the record to another one that was compared with it.
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.deduplication.config import DedupConfig
from mmfeat.deduplication.find_groups import find_groups
from mmfeat.deduplication.group_keys import DUPLICATES_FILE, KIND
from mmfeat.deduplication.groups import Groups
from mmfeat.deduplication.vector_rows import VectorRows, choose_columns
from mmfeat.features import FeatureStore
from mmfeat.storage import files, lock_directory
from mmfeat.store import (
    RecordedFile,
    check_output,
    finished_manifest,
    json_digest,
    match_run,
    open_run,
    write_manifest,
)
from mmfeat.system import external_sort, print_out, scratch_folder, show_summary

KEEP_FILE = "keep.parquet"

_SCHEMA = pa.schema(
    [
        ("__key__", pa.string()),
        ("shard", pa.string()),
        ("group", pa.string()),
        ("group_size", pa.int64()),
        ("score", pa.float32()),
        ("keep", pa.bool_()),
    ]
)
_BATCH_ROWS = 8192

_PLACE = "input_row"
"""Column of the samples table. Of records with one key, the first has the key that it has in the
input, so `mmfeat shard --keys` finds it."""


def dedup_store(config: DedupConfig) -> dict[str, Any]:
    """Find the groups, write them and return the manifest. A finished search is kept.

    Raises:
        MmfeatError: the features lack a column, or the output has another search.
        DamagedFileError: a file of the features is damaged.
    """
    check_output(config.output, KIND)
    store = FeatureStore(config.features)
    vectors = VectorRows(store, choose_columns(store, config.modalities))
    settings = {
        "features": store.manifest["config_hash"],
        "shards": json_digest(store.manifest["shards"]),
        "columns": {name: store.columns[name].fingerprint for name in vectors.columns},
        "threshold": config.threshold,
    }
    with lock_directory(config.output):
        manifest = finished_manifest(config.output, match_run(config.output, KIND, settings))
        if manifest:
            print_out(f"{config.output} already holds these groups; nothing to do")
        else:
            manifest = _write_groups(config, vectors, settings)
    totals = manifest["totals"]
    left_out = {f"  not compared: {reason}": n for reason, n in totals["left_out"].items()}
    show_summary(
        "dedup",
        {
            "records": totals["records"],
            "compared by": ", ".join(vectors.columns),
            **left_out,
            "groups of near-duplicates": totals["groups"],
            "records in groups": totals["grouped"],
            "records to keep": totals["kept"],
            "groups": f"mmfeat train … --group-column {shlex.quote(config.output)}",
            "keys to keep": "mmfeat shard … --keys "
            + shlex.quote(files.join(config.output, KEEP_FILE)),
        },
    )
    return manifest


def _write_groups(
    config: DedupConfig, vectors: VectorRows, settings: dict[str, Any]
) -> dict[str, Any]:
    left_out: Counter[str] = Counter()
    totals = Counter(records=0, groups=0, grouped=0, kept=0)
    with scratch_folder() as folder:
        groups = find_groups(vectors, config.threshold, folder, left_out)
        config_hash = open_run(config.output, KIND, settings)
        recorded = {
            DUPLICATES_FILE: _write_duplicates(config.output, vectors.store, groups, totals),
            KEEP_FILE: _write_keys(config.output, vectors.store, groups, totals),
        }
    return write_manifest(
        config.output,
        KIND,
        config_hash,
        files=recorded,
        totals={**totals, "left_out": {reason: n for reason, n in left_out.items() if n}},
    )


def _write_duplicates(
    output: str, store: FeatureStore, groups: Groups, totals: Counter[str]
) -> RecordedFile:
    ordered = external_sort(_group_lines(store, groups))
    with files.create(files.join(output, DUPLICATES_FILE)) as file:
        writer = pq.ParquetWriter(file, _SCHEMA, compression="zstd")
        for batch in _batches(_group_rows(ordered, groups, totals)):
            writer.write_batch(batch)
        writer.close()
    return file.info()


def _group_lines(store: FeatureStore, groups: Groups) -> Iterator[bytes]:
    """Yield a line per grouped row: the root of its group, its place in the input, its number and
    its values."""
    for shard, rows, keys, places in _kept_rows(store):
        grouped = np.flatnonzero(groups.grouped(rows))
        roots = groups.roots(rows[grouped])
        groups.count_sizes(roots)
        for index, root in zip(grouped.tolist(), roots.tolist(), strict=True):
            row = int(rows[index])
            values = json.dumps([keys[index], shard, float(groups.scores[row])])
            yield f"{root:015d} {places[index]:015d} {row:015d}\t{values}\n".encode()


def _group_rows(
    lines: Iterable[bytes], groups: Groups, totals: Counter[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the table. The first record of a group is kept."""
    group, last_root = "", -1
    for line in lines:
        numbers, _, values = line.partition(b"\t")
        root, _, row = map(int, numbers.split())
        key, shard, score = json.loads(values)
        if is_first := root != last_root:
            group, last_root, groups.kept[root] = key, root, row
            totals.update(groups=1)
        totals.update(grouped=1)
        yield key, shard, group, int(groups.sizes[root]), score, is_first


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[pa.RecordBatch]:
    while part := list(islice(rows, _BATCH_ROWS)):
        columns = zip(*part, strict=True)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _write_keys(
    output: str, store: FeatureStore, groups: Groups, totals: Counter[str]
) -> RecordedFile:
    schema = pa.schema([("__key__", pa.string())])
    with files.create(files.join(output, KEEP_FILE)) as file:
        writer = pq.ParquetWriter(file, schema, compression="zstd")
        for _, rows, keys, _ in _kept_rows(store):
            later = groups.grouped(rows) & (groups.kept[groups.roots(rows)] != rows)
            kept = [key for key, is_later in zip(keys, later, strict=True) if not is_later]
            totals.update(records=len(rows), kept=len(kept))
            writer.write_table(pa.table({"__key__": pa.array(kept, pa.string())}))
        writer.close()
    return file.info()


def _kept_rows(store: FeatureStore) -> Iterator[tuple[str, np.ndarray, list[str], list[int]]]:
    """Yield the rows of each shard that no retry has replaced: shard, numbers, keys, and their
    places in the input, which older stores do not have."""
    start = 0
    has_places = _PLACE in store.samples_schema.names
    for shard, count in store.shards.items():
        names = ["__key__", "status", *([_PLACE] if has_places else [])]
        samples = store.read_samples(shard, names)
        kept = np.flatnonzero(~store.retried_rows.mask(samples, shard))
        samples = samples.take(pa.array(kept))
        places = samples[_PLACE].to_pylist() if has_places else (kept + start).tolist()
        places = [place if isinstance(place, int) and place >= 0 else 0 for place in places]
        yield shard, kept + start, samples["__key__"].to_pylist(), places
        start += count
