"""Write predictions.parquet: one row per validation and test record of a training run.

MODEL/predictions.parquet    __key__, shard, split, target, the columns of `mmfeat score`, loss,
                             present_<column> of each modality
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features import FeatureStore
from mmfeat.models.base import Model
from mmfeat.models.inference import InferenceOutput, to_predictions
from mmfeat.storage import files
from training.data import Dataset

PREDICTIONS = "predictions.parquet"


def write_predictions(
    folder: str,
    store: FeatureStore,
    module: Model,
    dataset: Dataset,
    outputs: Mapping[str, InferenceOutput],
) -> None:
    """Write the table shard by shard.

    Args:
        folder: the model's directory.
        store: the features.
        module: the model.
        dataset: the dataset it was trained on.
        outputs: split → the model's output for all rows of the split.
    """
    writer: pq.ParquetWriter | None = None
    with files.create(files.join(folder, PREDICTIONS)) as output:
        for table in _tables(store, module, dataset, outputs):
            writer = writer or pq.ParquetWriter(output, table.schema, compression="zstd")
            writer.write_table(table)
        if writer:
            writer.close()


def _tables(
    store: FeatureStore,
    module: Model,
    dataset: Dataset,
    outputs: Mapping[str, InferenceOutput],
) -> Iterator[pa.Table]:
    """Yield a table for each shard and split."""
    start = 0
    for shard, records in store.shards.items():
        bounds = {
            split: np.searchsorted(dataset.split_rows[split], (start, start + records))
            for split in outputs
        }
        if any(first < last for first, last in bounds.values()):
            keys = store.read_samples(shard, ["__key__"])["__key__"]
            for split, (first, last) in bounds.items():
                if first < last:
                    rows = dataset.split_rows[split][first:last]
                    columns = {
                        "__key__": keys.take(rows - start).cast(pa.string()),
                        "shard": pa.array([shard] * len(rows)),
                        "split": pa.array([split] * len(rows)),
                    }
                    output = outputs[split].select(slice(first, last))
                    yield pa.table(columns | _prediction_columns(module, dataset, rows, output))
        start += records


def _prediction_columns(
    module: Model, dataset: Dataset, rows: np.ndarray, output: InferenceOutput
) -> dict[str, pa.Array]:
    objective, targets = dataset.objective, dataset.targets[rows]
    predictions = to_predictions(module, objective.task, output)
    scores = predictions.scores
    columns = {
        "target": objective.to_arrow(targets),
        **objective.task.to_columns(scores, module.thresholds.numpy(), predictions.scorable),
        "loss": pa.array(objective.row_losses(targets, scores), pa.float32()),
    }
    weights = predictions.weight_columns(module.columns)
    for number, name in enumerate(module.columns):
        columns[f"w_{name}"] = weights[f"w_{name}"]
        columns[f"present_{name}"] = pa.array(output.present[:, number])
    return columns
