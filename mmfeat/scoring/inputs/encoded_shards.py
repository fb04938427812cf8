"""Shards whose records are encoded on the way to the model, as `mmfeat extract` encodes them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.extraction import ExtractConfig, Extraction, ShardEncoding, read_input_receipt
from mmfeat.features import Column, ColumnShard, read_column_file
from mmfeat.plugins import is_trusted
from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.inputs.base import RowReader, ScoringInput, SelectRows, ShardRows
from mmfeat.scoring.predicting import ScoredModels
from mmfeat.shards import ShardRecord
from mmfeat.storage import files
from mmfeat.store import (
    Receipt,
    RetriedRows,
    ShardTask,
    check_output,
    read_checked,
    read_manifest,
    read_parquet,
    read_parquet_schema,
)

_NOT_SELECTED = "not_selected"


class EncodedShards(ScoringInput):
    """Shards, and the encoders that the models were trained on.

    Without --keep-features, only `columns/NAME/column.json` is written into the store of the
    predictions: the settings of each encoder, so that a later run continues with the same ones.

    Args:
        config: options of the run.
    """

    kind = "shards"

    def __init__(self, config: ScoreConfig) -> None:
        self.path = config.input
        self._config = config
        self._extraction: Extraction | None = None
        self._tuned: dict[str, Any] = {}

    def check(self) -> None:
        """See `ScoringInput.check`."""
        if self._config.keep_features:
            check_output(self._config.keep_features, "features")

    def open(self, models: ScoredModels) -> None:
        """See `ScoringInput.open`."""
        config = self._config
        extract = ExtractConfig(
            shards=config.input,
            output=config.keep_features or config.output,
            encoder=tuple(spec.flag for spec in find_encoders(models, config.encoder)),
            device=config.device,
            batch_size=config.batch_size,
            trust_remote_code=config.trust_remote_code,
            processes=config.processes,
            threads=config.threads,
        )
        if config.keep_features:
            self._extraction = Extraction(extract, models.columns)
            self._encoding = self._extraction.encoding
        else:
            self._encoding = ShardEncoding(extract, config.output, "predictions", models.columns)
        manifest = self._encoding.open()
        self.shards = manifest["shards"]
        self.config_hash = manifest["config_hash"]
        self.retry_digest = _retried_rows(self.path, manifest).digest
        self.samples_schema = self._schema_of(manifest)

    def read_schema(self) -> pa.Schema:
        """See `ScoringInput.read_schema`."""
        return self._schema_of(read_manifest(self.path, "shards"))

    def _schema_of(self, manifest: Mapping[str, Any]) -> pa.Schema:
        """Return the schema of the table of the first intact shard."""
        damage: DamagedFileError | None = None
        for entry in manifest["shards"]:
            try:
                _, table = _read_table(self.path, entry)
                return read_parquet_schema(f"{entry['name']}.parquet", io.BytesIO(table))
            except DamagedFileError as error:
                damage = damage or error
        raise damage or MmfeatError(f"{self.path} has no shard to score")

    @property
    def kept_features(self) -> Extraction | None:
        """The extraction that --keep-features asks for."""
        return self._extraction

    @property
    def modules(self) -> list[str]:
        """Modules that worker processes need."""
        return self._encoding.modules

    def prepare(self) -> None:
        """See `ScoringInput.prepare`."""
        if self._extraction:
            self._extraction.plan()
            return
        new_columns = self._encoding.continue_columns()
        self._tuned = {column: self._encoding.tune(column) for column in new_columns}

    def start(self) -> None:
        """See `ScoringInput.start`."""
        for column, (encoder, settings) in self._tuned.items():
            self._encoding.claim(column, encoder, settings)
        self._tuned = {}
        self.limits = self._encoding.choose_limits(self._encoding.load())

    def use_device(self, device: str) -> None:
        """See `ScoringInput.use_device`."""
        self._encoding.device = device

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the list of shards, and encoders."""
        return self.__dict__ | {"shards": (), "_tuned": {}}

    def load(self, models: ScoredModels | None, processes: int = 1) -> "EncodedRows":
        """Load the encoders."""
        retried: RetriedRows | None = None
        if self.retry_digest:
            retried = _retried_rows(self.path, read_manifest(self.path, "shards"))
        if self._extraction:
            self._extraction.processes = processes
        encoders = self._encoding.load(processes) if models else {}
        return EncodedRows(self._encoding, encoders, processes, retried, self._extraction)

    def release(self) -> None:
        """See `ScoringInput.release`."""
        self._encoding.release()

    def is_final(self, source: Mapping[str, Any], task: ShardTask) -> bool:
        """See `ScoringInput.is_final`: the tar has the same bytes, too."""
        same_bytes = source.get("sha256") == task.source["sha256"]
        return same_bytes and super().is_final(source, task)


class EncodedRows(RowReader):
    """Reads and encodes shards.

    Args:
        encoding: the columns.
        encoders: column → encoder.
        processes: processes on this machine that encode.
        retried_rows: rows that a retry has replaced; None if there was no retry.
        extraction: writes the features to keep; None = they stay in memory.
    """

    counts_records = True

    def __init__(
        self,
        encoding: ShardEncoding,
        encoders: Mapping[str, Encoder],
        processes: int,
        retried_rows: RetriedRows | None,
        extraction: Extraction | None,
    ) -> None:
        self._encoding, self._encoders, self._processes = encoding, encoders, processes
        self._retried_rows, self._extraction = retried_rows, extraction
        self.parallel_shards = encoding.parallel_shards(encoders)

    @property
    def _path(self) -> str:
        return self._encoding.config.shards

    def read_samples(self, task: ShardTask, names: Sequence[str]) -> pa.Table:
        """See `RowReader.read_samples`."""
        return _read_samples(*_read_table(self._path, task.source), names)

    def read(self, task: ShardTask, names: Sequence[str], select: SelectRows) -> ShardRows:
        """See `RowReader.read`."""
        receipt, table = _read_table(self._path, task.source)
        samples = _read_samples(receipt, table, names)
        selected, replaced = select(samples)
        facts = {"sha256": task.source["sha256"]}
        if self._extraction:
            made = self._extraction.process(replace(task, fresh=False), self._encoders)
            columns = {name: self._read_kept(name, receipt) for name in self._encoding.columns}
            return ShardRows(samples, columns, selected, replaced, made.bytes_read, facts)

        def select_record(row: int, record: ShardRecord) -> ShardRecord:
            return record if selected[row] else _without_sample(record)

        encoded = self._encoding.encode(
            task, self._encoders, receipt, table, select_record, self._processes
        )
        return ShardRows(samples, encoded.columns, selected, replaced, encoded.bytes_read, facts)

    def _read_kept(self, name: str, receipt: Receipt) -> ColumnShard:
        column, table = self._encoding.columns[name], self._encoding.table(name)
        path, info = table.find_rows(receipt.shard, column.fingerprint, receipt.keys_sha256)
        return read_column_file(path, info, column.shape)

    def try_records(self, task: ShardTask, rows: range) -> None:
        """See `RowReader.try_records`: a model cannot tell the records apart that kill it."""
        self._encoding.try_records(task, rows, self._encoders, self._processes)

    def replaced_rows(self, samples: pa.Table, shard: str) -> np.ndarray:
        """See `RowReader.replaced_rows`."""
        if self._retried_rows is None:
            return np.zeros(len(samples), bool)
        return self._retried_rows.mask(samples, shard)


def find_encoders(models: ScoredModels, given: Sequence[str]) -> list[EncoderSpec]:
    """Return the encoders of the models: those of --encoder, else those that the models record.

    A name on a hub is resolved to the revision of the training. `ShardEncoding` compares the loaded
    weights with those of the training.

    Raises:
        MmfeatError: --encoder names no column of the models, or a model does not record an encoder,
            or one that runs code of another package.
    """
    named = {spec.column: spec for spec in map(EncoderSpec.parse, given)}
    if unknown := sorted(named.keys() - models.columns.keys()):
        raise MmfeatError(
            f"--encoder must name columns of the model: {', '.join(models.columns)}",
            got=unknown[0],
        )
    recorded = models.encoder_flags
    return [
        _find_encoder(column, named.get(name), recorded.get(name, ""))
        for name, column in models.columns.items()
    ]


def _find_encoder(column: Column, named: EncoderSpec | None, recorded: str) -> EncoderSpec:
    if named is None and not recorded:
        raise MmfeatError(
            f"the model must record the encoder of {column.name}, and it was trained before models "
            "did",
            cure=f"Name it: --encoder {column.name}:{column.slot}=SCHEME:NAME",
        )
    spec = named or EncoderSpec.parse(recorded)
    if named is None and not spec.is_own and not is_trusted(f"{spec.scheme}:{spec.name}"):
        raise MmfeatError(
            f"the encoder of {column.name} is code outside of mmfeat, and a model may be a "
            "stranger's",
            got=f"{spec.scheme}:{spec.name}",
            cure=f"If you trust it, name it: --encoder {recorded}",
        )
    if spec.column != column.name:
        raise MmfeatError(
            f"the model must record an encoder of {column.name}",
            got=recorded,
            cure=f"Name it: --encoder {column.name}:{column.slot}=SCHEME:NAME",
        )
    slot = spec.slot or (column.slot if column.slot != column.modality else "")
    revision = column.encoder.get("revision")
    return replace(spec, slot=slot).at_revision(revision if isinstance(revision, str) else "")


def _without_sample(record: ShardRecord) -> ShardRecord:
    return replace(record, sample=None, statuses=dict.fromkeys(record.statuses, _NOT_SELECTED))


def _read_table(shards: str, entry: Mapping[str, Any]) -> tuple[Receipt, bytes]:
    """Return the receipt of an input shard, and the content of its table, checked."""
    receipt, name = read_input_receipt(shards, entry), f"{entry['name']}.parquet"
    return receipt, read_checked(files.join(shards, name), receipt.files[name])


def _read_samples(receipt: Receipt, table: bytes, names: Sequence[str]) -> pa.Table:
    return read_parquet(f"{receipt.shard}.parquet", names, file=io.BytesIO(table))


def _retried_rows(path: str, manifest: Mapping[str, Any]) -> RetriedRows:
    entries = {shard["name"]: shard for shard in manifest["shards"]}

    def read_keys(shard: str) -> pa.ChunkedArray:
        return _read_samples(*_read_table(path, entries[shard]), ["__key__"])["__key__"]

    return RetriedRows.of_shards(manifest, read_keys)
