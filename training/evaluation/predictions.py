"""What the model says of each validation and test record, for the report and for a closer look.

MODEL/predictions.parquet    __key__, shard, split, target, what `mmfeat score` gives, loss,
                             present_<column> of each modality
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features.store import FeatureStore
from mmfeat.models.base import Model
from mmfeat.models.inference import has_any, predict
from mmfeat.store import files
from training.data.dataset import Dataset
from training.data.splits import TEST, VAL
from training.fit.fit_result import Fitted

PREDICTIONS = "predictions.parquet"


def write_predictions(folder: str, store: FeatureStore, best: Fitted, dataset: Dataset) -> None:
    """Write the table, a shard at a time."""
    writer: pq.ParquetWriter | None = None
    with files.create(files.join(folder, PREDICTIONS)) as output:
        for table in _tables(store, best.module, dataset):
            writer = writer or pq.ParquetWriter(output, table.schema, compression="zstd")
            writer.write_table(table)
        if writer:
            writer.close()


def _tables(store: FeatureStore, module: Model, dataset: Dataset) -> Iterator[pa.Table]:
    start = 0
    for shard, records in store.shards.items():
        rows = {split: _between(dataset.parts[split], start, records) for split in (VAL, TEST)}
        if any(len(part) for part in rows.values()):
            keys = store.read_samples(shard, ["__key__"])["__key__"]
            for split, part in rows.items():
                if len(part):
                    yield _table(module, dataset, part, split, shard, keys.take(part - start))
        start += records


def _between(rows: np.ndarray, start: int, count: int) -> np.ndarray:
    first, last = np.searchsorted(rows, (start, start + count))
    return rows[first:last]


def _table(
    module: Model,
    dataset: Dataset,
    rows: np.ndarray,
    split: str,
    shard: str,
    keys: pa.ChunkedArray,
) -> pa.Table:
    objective = dataset.objective
    features, present = dataset.features.take(rows)
    scores, weights, scorable = predict(module, objective.task, features, present)
    targets = dataset.targets[rows]
    columns = {
        "__key__": keys.cast(pa.string()),
        "shard": pa.array([shard] * len(rows)),
        "split": pa.array([split] * len(rows)),
        "target": objective.as_column(targets),
        **objective.task.columns(scores, module.thresholds.numpy(), scorable),
        "loss": pa.array(objective.row_losses(targets, scores), pa.float32()),
    }
    for number, name in enumerate(module.columns):
        weight = pa.nulls(len(rows)) if weights is None else pa.array(weights[:, number])
        columns[f"w_{name}"] = weight.cast(pa.float32())
        columns[f"present_{name}"] = pa.array(has_any(present[name]))
    return pa.table(columns)
