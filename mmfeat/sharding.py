"""Sharding: raw records → WebDataset tars, with one row a record that says what became of it."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat import console, progress, storage, store
from mmfeat.errors import MmfeatError
from mmfeat.metadata import arrow_array
from mmfeat.modalities import MODALITIES
from mmfeat.options import InputPath, OutputPath, comma_list
from mmfeat.parallel import default_threads, ordered_map
from mmfeat.parts import PartReader, Validation
from mmfeat.plan import Plan, make_plan, read_plan, remove_plan
from mmfeat.sample import RESERVED, Record, Sample
from mmfeat.shards import TarWriter
from mmfeat.sources import Source, open_source
from mmfeat.stage import ShardTask, Stage
from mmfeat.store import Receipt


@dataclass
class ShardConfig:
    """Turn raw records into shards: WebDataset tars, with a table that accounts for each record.

    INPUT is a table (.csv, .tsv, .jsonl, .parquet, also .gz) with a column of picture paths, of
    texts, or both, or a folder of pictures with .txt and .json files of the same stem. Flags not
    listed here go to Apache Beam, for example --runner=DataflowRunner.
    """

    input: InputPath
    """Table or folder of the raw records."""
    output: OutputPath
    """Directory of the shards."""
    samples_per_shard: int = 1000
    """Records in one shard."""
    image_column: str = ""
    """Column of picture paths; found by its name when not given (file_name, image, path, …)."""
    text_column: str = ""
    """Column of texts; found by its name when not given (text, caption, description, …)."""
    key_column: str = ""
    """Column of keys; else the stem of the picture's file name is the key."""
    duplicate_keys: Literal["auto", "refuse", "suffix"] = "auto"
    """Records that share a key: refuse the input, or tell them apart by a suffix `~ROW`. auto
    refuses with --key-column and suffixes otherwise."""
    require: str = ""
    """Modalities every sample must have, as in image,text; records without them are rejected."""
    validate: Validation = "header"
    """How far pictures are checked: not at all, can be opened, or can be decoded whole."""
    max_file_bytes: int = 256 << 20
    """A larger file is not read; its record says too_large."""
    threads: int = 0
    """Threads that read and check files; 0 takes one a core."""

    def __post_init__(self) -> None:
        if self.samples_per_shard < 1:
            raise MmfeatError("--samples-per-shard must be at least 1", got=self.samples_per_shard)
        if self.max_file_bytes < 1:
            raise MmfeatError("--max-file-bytes must be at least 1", got=self.max_file_bytes)
        unknown = [name for name in comma_list(self.require) if name not in MODALITIES]
        if unknown:
            raise MmfeatError(
                f"--require must name modalities out of {', '.join(MODALITIES)}", got=unknown[0]
            )


class Sharding(Stage):
    """The stage behind `mmfeat shard`."""

    name = "shard"

    def __init__(self, config: ShardConfig) -> None:
        self.config = config
        self.output = config.output
        self.root = ""
        self.modalities: tuple[str, ...] = ()
        self.config_hash = ""
        self._kinds: dict[str, str] = {}
        self._columns: dict[str, str] = {}

    def plan(self) -> list[ShardTask]:
        """Plan the shards; needs one pass over the table, none over the media."""
        source = self._open()
        self.root, self.modalities = source.root, source.modalities
        if manifest := self.finished():
            tasks = [self._task(shard["name"], shard["records"]) for shard in manifest["shards"]]
            if all(task.done for task in tasks):
                return tasks
        plan = make_plan(
            source.records(),
            self.output,
            config_hash=self.config_hash,
            samples_per_shard=self.config.samples_per_shard,
            same_key=_refuse_same_key if self._refuses_duplicates else None,
        )
        self._kinds, self._columns = plan.columns, _column_names(plan)
        return [self._task(shard, records) for shard, records in plan.shards.items()]

    def _task(self, shard: str, records: int) -> ShardTask:
        receipt = store.read_receipt(self.output, shard)
        done = receipt is not None and receipt.config_hash == self.config_hash
        return ShardTask(shard, records, done)

    def _open(self) -> Source:
        config = self.config
        columns = {"image": config.image_column, "text": config.text_column}
        source = open_source(config.input, columns, config.key_column)
        for line in source.notes():
            console.note(f"shard: {line}")
        missing = [m for m in comma_list(config.require) if m not in source.modalities]
        if missing:
            raise MmfeatError(
                f"--require asks for a modality that {config.input} does not have",
                got=missing[0],
                cure=f"It has: {', '.join(source.modalities)}",
            )
        settings = {
            "source": source.describe(),
            "samples_per_shard": config.samples_per_shard,
            "duplicate_keys": "refuse" if self._refuses_duplicates else "suffix",
            "require": sorted(comma_list(config.require)),
            "validate": config.validate,
            "max_file_bytes": config.max_file_bytes,
        }
        self.config_hash = store.claim(self.output, "shards", settings)
        return source

    @property
    def _refuses_duplicates(self) -> bool:
        choice = self.config.duplicate_keys
        return choice == "refuse" or (choice == "auto" and bool(self.config.key_column))

    def finished(self) -> dict[str, Any] | None:
        """The manifest of a finished store of this configuration."""
        return store.finished(self.output, self.config_hash)

    def process(self, task: ShardTask, loaded: Any) -> Receipt:
        """Read the records' files, write the tar, the table and the receipt of one shard."""
        started = time.monotonic()
        records = read_plan(self.output, task.shard)
        reader = PartReader(
            self.root, self.modalities, self.config.validate, self.config.max_file_bytes
        )
        required = set(comma_list(self.config.require))
        rows = _Rows(self.modalities, self._kinds, self._columns)
        bytes_read = 0
        tar_name, table_name = f"{task.shard}.tar", f"{task.shard}.parquet"
        with storage.create(storage.join(self.output, tar_name)) as tar_file:
            tar = TarWriter(tar_file)
            threads = self.config.threads or default_threads()
            for sample in ordered_map(reader.read, records, threads=threads):
                status = _status(sample, required)
                if status != "failed":
                    tar.write(sample)
                rows.add(sample, status)
                bytes_read += sum(map(len, sample.members.values()))
                progress.RECORDS.add(1)
            tar.close()
        with storage.create(storage.join(self.output, table_name)) as table_file:
            pq.write_table(rows.table(), table_file, compression="zstd")
        receipt = Receipt(
            shard=task.shard,
            config_hash=self.config_hash,
            records=len(records),
            out=rows.status["ok"] + rows.status["partial"],
            rejected=dict(rows.rejected),
            status=dict(rows.status),
            problems=dict(rows.problems),
            files={tar_name: tar_file.describe(), table_name: table_file.describe()},
            keys_sha256=store.keys_digest(record.key for record in records),
            bytes_read=bytes_read,
            seconds=round(time.monotonic() - started, 3),
        )
        receipt.write(self.output)
        return receipt

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check the account over all shards and write the manifest."""
        receipts = store.require_receipts(self.output, shards)
        sums = store.totals(receipts)
        if not sums["out"]:
            raise MmfeatError(
                f"none of the {sums['records']} records of {self.config.input} is usable "
                f"({store.count_words(sums['rejected'])})",
                cure=f"The tables in {self.output} say what happened to each; mend the input and "
                "name another output directory",
            )
        remove_plan(self.output)
        return store.write_manifest(
            self.output,
            "shards",
            self.config_hash,
            modalities=list(self.modalities),
            columns={self._columns[name]: kind for name, kind in self._kinds.items()},
            shards=[_listing(receipt) for receipt in receipts],
            totals=sums,
        )


def _listing(receipt: Receipt) -> dict[str, Any]:
    facts = receipt.files[f"{receipt.shard}.tar"]
    return {
        "name": receipt.shard,
        "records": receipt.records,
        "out": receipt.out,
        "sha256": facts["sha256"],
        "keys_sha256": receipt.keys_sha256,
    }


def _refuse_same_key(first: Record, second: Record) -> None:
    raise MmfeatError(
        f"keys must be unique: rows {first.row} and {second.row} of the input (counted from 0) "
        "share one",
        got=first.key,
        cure="Name another --key-column, or tell them apart with --duplicate-keys suffix",
    )


def _column_names(plan: Plan) -> dict[str, str]:
    """Metadata column → its name in the per-record table, where some names are ours."""
    ours = {*RESERVED, *(f"{name}_status" for name in MODALITIES)}
    names: dict[str, str] = {}
    for name in plan.columns:
        column = name
        while column in ours or column in names.values():
            column = f"meta_{column}"
        names[name] = column
    return names


def _status(sample: Sample, required: set[str]) -> str:
    """`ok`, `partial` where a part cannot be used, `failed` where nothing usable is left."""
    if not sample.members or required & sample.problems.keys():
        return "failed"
    return "partial" if sample.problems else "ok"


class _Rows:
    """The per-record table of one shard, and its counts."""

    def __init__(
        self, modalities: Iterable[str], kinds: Mapping[str, str], columns: Mapping[str, str]
    ) -> None:
        self._kinds, self._columns = kinds, columns
        self._modalities = tuple(modalities)
        self._ours: list[dict[str, Any]] = []
        self._metadata: list[Mapping[str, Any]] = []
        self.status: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()

    def add(self, sample: Sample, status: str) -> None:
        """One record's row."""
        reason = sample.reason
        self.status[status] += 1
        if status == "failed":
            self.rejected[str(reason)] += 1
        if reason:
            self.problems[reason] += 1
        whole = sample.problems.get("")
        row = {
            "__key__": sample.key,
            "status": status,
            "reason": reason,
            "error": sample.error,
            "input_row": sample.record.row,
        }
        for name in self._modalities:
            problem = sample.problems.get(name) or whole
            row[f"{name}_status"] = problem[0] if problem else "ok"
        self._ours.append(row)
        self._metadata.append(sample.record.metadata)

    def table(self) -> pa.Table:
        """The rows as Arrow: our columns, then the metadata columns."""
        fields = {name: pa.string() for name in RESERVED} | {"input_row": pa.int64()}
        fields |= {f"{name}_status": pa.string() for name in self._modalities}
        arrays = {
            name: pa.array([row[name] for row in self._ours], kind) for name, kind in fields.items()
        }
        for name, column in self._columns.items():
            values = [metadata.get(name) for metadata in self._metadata]
            arrays[column] = arrow_array(values, self._kinds[name])
        return pa.table(arrays)
