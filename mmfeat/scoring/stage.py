"""Scoring: model + features → predictions, one row an input record, scored or not.

A record that failed at first and was tried again has the row of its last try alone.

OUTPUT/00000.parquet    __key__, status, reason, prediction, w_<column> of each modality weight,
                        probability and p_<class> where the model has classes
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.config.flags import FeaturesPath, ModelPath, OutputPath
from mmfeat.errors import MmfeatError
from mmfeat.features.column_reader import ColumnShard
from mmfeat.features.store import FeatureStore
from mmfeat.store import files
from mmfeat.store.directory import (
    Receipt,
    claim,
    count_words,
    finished,
    keys_digest,
    read_manifest,
    read_receipt,
    require_receipts,
    totals,
    write_manifest,
)
from mmfeat.store.stage import ShardTask, Stage
from mmfeat.system import progress

if TYPE_CHECKING:
    from mmfeat.models.checkpoint import LoadedModel
    from mmfeat.models.inference import Predictions


@dataclass
class ScoreConfig:
    """Score every record of a feature store with a trained model.

    Each input record gets one row: the prediction, the probability of each class and the weight
    of each modality, or the reason why it cannot be scored. Flags not listed here go to
    Apache Beam, for example --runner=DataflowRunner.
    """

    model: ModelPath
    """Directory that `mmfeat train` made."""
    features: FeaturesPath
    """Directory that `mmfeat extract` made, with the encoders the model was trained on."""
    output: OutputPath
    """Directory of the predictions."""


class Loaded(NamedTuple):
    """What each process has at hand."""

    model: "LoadedModel"
    features: FeatureStore


class Scoring(Stage):
    """The stage behind `mmfeat score`."""

    name = "score"

    def __init__(self, config: ScoreConfig) -> None:
        self.config = config
        self.output = config.output
        self.config_hash = ""
        self._sources: dict[str, str] = {}
        self._superseded = ""

    def plan(self) -> list[ShardTask]:
        """One task a shard of the features; refuses features the model was not trained on."""
        model, features = self.load()
        model.check_columns(features.columns)
        weights = read_manifest(self.config.model, "model")["files"]
        settings = {
            "model": weights["model.safetensors"]["sha256"],
            **model.task.facts,
            "columns": {column.name: column.fingerprint for column in model.columns},
            "features": features.manifest["config_hash"],
        }
        self.config_hash = claim(self.output, "predictions", settings)
        self._sources = {s["name"]: s["keys_sha256"] for s in features.manifest["shards"]}
        self._superseded = features.superseded.digest
        return [
            ShardTask(shard, records, done=self._is_made(shard))
            for shard, records in features.shards.items()
        ]

    def _is_made(self, shard: str) -> bool:
        receipt = read_receipt(self.output, shard)
        if receipt is None or receipt.config_hash != self.config_hash:
            return False
        if receipt.source["keys_sha256"] != self._sources[shard]:
            return False
        # What failed may have been tried again since, and then its row is to go.
        return not receipt.rejected or receipt.source["superseded"] == self._superseded

    def load(self) -> "Loaded":
        """The model and the features; torch is imported here and not before."""
        from mmfeat.models.checkpoint import load_model

        return Loaded(load_model(self.config.model), FeatureStore(self.config.features))

    def process(self, task: ShardTask, loaded: "Loaded") -> Receipt:
        """Score one shard."""
        started = time.monotonic()
        model, features = loaded
        columns = {c.name: features.read_column(c.name, task.shard) for c in model.columns}
        samples = features.read_samples(task.shard, ["__key__", "status"])
        predictions = model.predict_shard(columns)
        reasons = _reasons(predictions.scorable, columns)
        table = _table(model, predictions, samples["__key__"], reasons)
        table = table.filter(pa.array(~features.superseded.among(samples)))
        name = f"{task.shard}.parquet"
        with files.create(files.join(self.output, name)) as output:
            pq.write_table(table, output, compression="zstd")
        scored = int(predictions.scorable.sum())
        failed = [reason for reason in table["reason"].to_pylist() if reason]
        receipt = Receipt(
            shard=task.shard,
            config_hash=self.config_hash,
            records=len(table),
            out=scored,
            rejected=dict(Counter(failed)),
            status={"ok": scored, "failed": len(failed)},
            files={name: output.describe()},
            keys_sha256=keys_digest(table["__key__"].to_pylist()),
            source={
                "features": self.config.features,
                "keys_sha256": self._sources[task.shard],
                "superseded": self._superseded,
            },
            bytes_read=sum(column.features.nbytes for column in columns.values()),
            seconds=round(time.monotonic() - started, 3),
        )
        receipt.write(self.output)
        progress.RECORDS.add(task.records)
        return receipt

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check the account over all shards and write the manifest."""
        receipts = require_receipts(self.output, shards)
        sums = totals(receipts)
        if not sums["out"]:
            raise MmfeatError(
                f"none of the {sums['records']} records of {self.config.features} can be scored "
                f"({count_words(sums['rejected'])})",
            )
        return write_manifest(
            self.output,
            "predictions",
            self.config_hash,
            shards=[
                {"name": r.shard, "records": r.records, "keys_sha256": r.keys_sha256}
                for r in receipts
            ],
            totals=sums,
        )

    def finished(self) -> dict[str, Any] | None:
        """The manifest of finished predictions of this model."""
        return finished(self.output, self.config_hash)


def _reasons(scorable: np.ndarray, columns: dict[str, ColumnShard]) -> list[str | None]:
    """Per row: None where it is scored, else why its absent columns are not there."""
    words = {name: column.reasons.to_pylist() for name, column in columns.items()}
    return [
        None
        if good
        else ", ".join(
            f"{name}:{reasons[row]}" for name, reasons in words.items() if reasons[row] is not None
        )
        for row, good in enumerate(scorable)
    ]


def _table(
    model: "LoadedModel",
    predictions: "Predictions",
    keys: pa.ChunkedArray,
    reasons: Sequence[str | None],
) -> pa.Table:
    scorable, weights = predictions.scorable, predictions.weights
    columns: dict[str, Any] = {
        "__key__": keys,
        "status": pa.array(["ok" if good else "failed" for good in scorable], pa.string()),
        "reason": pa.array(reasons, pa.string()),
        **model.task.columns(predictions.scores, model.module.thresholds.numpy(), scorable),
    }
    for index, name in enumerate(model.column_names):
        columns[f"w_{name}"] = (
            pa.nulls(len(scorable), pa.float32())
            if weights is None
            else pa.array(weights[:, index], pa.float32(), mask=~scorable)
        )
    return pa.table(columns)
