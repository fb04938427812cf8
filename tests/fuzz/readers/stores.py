"""Stores: their documents, tables and columns. Checksums and digests fit, as a stranger's would."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features import FeatureStore, read_column_file, read_reasons
from mmfeat.features.column_format import (
    OK,
    FeatureShape,
    RowStatus,
    column_schema,
    make_column_batch,
)
from mmfeat.records import FileRef, Record
from mmfeat.sharding.plan_codec import dump_record
from mmfeat.sharding.shard_plan import Plan, commit_plan, read_plan, read_planned_records
from mmfeat.shards.shard_reader import read_shard
from mmfeat.sources import open_source
from mmfeat.storage import files
from mmfeat.store import (
    MANIFEST_FILE,
    PLAN_FILE,
    PLAN_FOLDER,
    Receipt,
    check_output,
    match_run,
    open_run,
    read_parquet,
    read_parquet_schema,
    read_receipt,
    record_file,
    write_manifest,
)
from mmfeat.store.plan_files import Piece, PlannedShard, collect_shards
from tests.fuzz.mutations import mutate_json
from tests.fuzz.target import Target
from tests.mmfeat.shards.tar_bytes import END, tar_member

_NAMES = [b"../x", b"/x", b"a/b", b"..", b".", b"", b"\\u0000", b"a" * 300]


def _write_document(path: str, data: bytes) -> None:
    """Write a document with a valid checksum; as it is if it is no JSON."""
    try:
        files.write_json(path, json.loads(data))
    except (ValueError, RecursionError):
        Path(path).write_bytes(data)


def _document_target(path: str, read: Callable[[], Any]) -> Target:
    """Return a target that replaces a document of a store before it is read."""

    def read_document(data: bytes) -> None:
        _write_document(path, data)
        read()

    return Target(read_document, [Path(path).read_bytes()], _NAMES, mutate_json)


def shards_manifest(folder: Path) -> Target:
    """The manifest of a store of shards, read as input."""
    store = str(folder)
    config_hash = open_run(store, "shards", {"n": 1})
    (folder / "00000.tar").write_bytes(tar_member("k1.jpg") + END)
    rows = [{"__key__": "k1", "status": "ok", "label": "x"}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "00000.parquet")
    shard = {"name": "00000", "records": 1, "out": 1, "bytes": 1, "sha256": "0", "keys_sha256": "0",
             "config_hash": config_hash}  # fmt: skip
    totals = {"records": 1, "out": 1, "rejected": {}, "status": {"ok": 1}, "problems": {},
              "bytes_read": 1, "bytes_written": 1}  # fmt: skip
    write_manifest(
        store, "shards", config_hash, slots=["image"], columns={"label": "string"},
        kinds={"label": "string"}, selection={}, shards=[shard], totals=totals,
    )  # fmt: skip

    def read() -> None:
        for _ in open_source(store).records():
            pass

    return _document_target(files.join(store, MANIFEST_FILE), read)


def features_manifest(folder: Path) -> Target:
    """The manifest of a feature store, and all that is found by it."""
    from tests.training.stores import Records, write_store

    features = {"image": np.zeros((6, 4), "f2"), "text": np.zeros((6, 2, 3), "f2")}
    store = write_store(str(folder / "store"), Records(features, {"label": [*"abcabc"]}))

    def read() -> None:
        opened = FeatureStore(store)
        assert opened.samples_schema
        for shard in opened.shards:
            opened.retried_rows.mask(opened.read_samples(shard), shard)
        for _ in opened.read([*opened.columns]):
            pass

    return _document_target(files.join(store, MANIFEST_FILE), read)


def receipt(folder: Path) -> Target:
    """A receipt, read by the stage that resumes."""
    store = str(folder)
    (folder / "00000.tar").write_bytes(b"x")
    recorded = {"00000.tar": record_file(str(folder / "00000.tar"))}
    Receipt("00000", "0", records=3, out=2, rejected={"image:empty": 1}, status={"ok": 2},
            files=recorded).write(store)  # fmt: skip

    def read() -> None:
        found = read_receipt(store, "00000", expected_files=("{}.tar",))
        assert found is None or found.adds_up

    return _document_target(files.join(store, "00000_stats.json"), read)


def run_config(folder: Path) -> Target:
    """The config.json of a store, compared with another configuration."""
    store, config = str(folder), {"n": 1, "columns": [{"name": "image", "dim": 3}]}
    open_run(store, "features", config, {"columns": {"image": {"dim": 3}}})

    def read() -> None:
        check_output(store, "features")
        match_run(store, "features", config, {"columns": {"image": {"dim": 4}}})

    return _document_target(files.join(store, "config.json"), read)


def plan(folder: Path) -> Target:
    """The plan of a run that was killed."""
    store = str(folder)
    shards = collect_shards([PlannedShard("00000", 1, 10, Piece(0, 0, 10, "0" * 32))])
    commit_plan(Plan(shards, {"label": "string"}, {"text": 1}, {}, 0, 1, 0), store, "0")

    def read() -> None:
        read_plan(store, "0")

    return _document_target(files.join(store, PLAN_FOLDER, PLAN_FILE), read)


def planned_records(folder: Path) -> Target:
    """The records of a planned shard."""
    path = folder / PLAN_FOLDER / "00000.jsonl"
    path.parent.mkdir()
    record = Record(0, "k", {"image": FileRef("a.png")}, {"n": 1}, {"text": ("empty", "x")})

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_planned_records(str(folder), "00000", None)

    return Target(read, [dump_record(record)], _NAMES, mutate_json)


def column(folder: Path) -> Target:
    """A column of vectors in an Arrow file."""
    return _column_target(folder, FeatureShape(4), np.ones(4, "f2"))


def token_column(folder: Path) -> Target:
    """A column of token vectors in an Arrow file."""
    return _column_target(folder, FeatureShape(4, max_tokens=3), np.ones((2, 4), "f2"))


def _column_target(folder: Path, shape: FeatureShape, feature: np.ndarray) -> Target:
    path = str(folder / "00000.arrow")
    statuses = [OK, RowStatus("missing", "missing"), OK]
    batch = make_column_batch([feature, None, feature], statuses, shape)
    output = io.BytesIO()
    with pa.ipc.new_file(output, column_schema(shape)) as file:
        file.write_batch(batch)

    def read(data: bytes) -> None:
        # Another name each time: a mapped file must not change.
        Path(path).unlink(missing_ok=True)
        Path(path).write_bytes(data)
        read_reasons(path)
        rows = read_column_file(path, record_file(path), shape)
        taken = np.arange(len(rows.present))
        features, present = rows.take(taken, shape.max_tokens)
        assert features.shape[-1] == shape.dim
        assert present.shape == features.shape[:-1]
        assert rows.reasons.to_pylist() is not None

    tokens = [
        b"ARROW1",
        b"\xff\xff\xff\xff",
        *(n.to_bytes(8, "little") for n in (0, 1, 64, 1 << 40)),
    ]
    return Target(read, [output.getvalue()], tokens)


def samples_table(folder: Path) -> Target:
    """The samples table of a feature store."""
    path = str(folder / "00000.parquet")
    rows = [{"__key__": f"k{n}", "status": "ok", "reason": None, "n": n} for n in range(3)]
    output = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), output, compression="none")

    def read(data: bytes) -> None:
        with io.BytesIO(data) as file:
            read_parquet_schema(path, file)
        with io.BytesIO(data) as file:
            read_parquet(path, ["__key__"], file=file, rows=3)["__key__"].to_pylist()
        with io.BytesIO(data) as file:
            read_parquet(path, None, file=file, rows=3).to_pylist()

    return Target(read, [output.getvalue()], [b"PAR1", b"__key__", b"status", b"ARROW:schema"])


def shard_table(folder: Path) -> Target:
    """The table of a shard beside its tar."""
    tar = tar_member("k0.jpg") + tar_member("k1.jpg") + END
    rows = [{"__key__": f"k{n}", "status": "ok", "image_status": "ok"} for n in range(2)]
    rows.append({"__key__": "k2", "status": "failed", "image_status": "empty"})
    output = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), output, compression="none")

    def read(data: bytes) -> None:
        for _ in read_shard(io.BytesIO(data), io.BytesIO(tar), ["image"]):
            pass

    return Target(
        read, [output.getvalue()], [b"PAR1", b"__key__", b"status", b"image_status", b"ok"]
    )
