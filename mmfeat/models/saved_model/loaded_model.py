"""A model on disk: config.json and model.safetensors, no pickle.

MODEL/config.json         all options that determine the layers and the weights
MODEL/model.safetensors   the weights, the temperature and the thresholds
MODEL/tokenizer.json      the tokens of a model that describes
MODEL/metrics.json        metrics on validation and test
MODEL/log.jsonl           one line per epoch
MODEL/manifest.json       written last: a model without it is not finished
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import Column, ColumnShard
from mmfeat.models.base import Model
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.decoder.text_codec import TOKENIZER
from mmfeat.models.inference import CHUNK_ROWS, Predictions, concatenate_predictions, predict
from mmfeat.models.saved_model.layers import ModelLayers, architecture_from_config, model_config
from mmfeat.models.saved_model.tokenizer import read_tokenizer
from mmfeat.models.saved_model.weights import WEIGHTS, read_weights, restore_model
from mmfeat.models.tasks import Describe, Task, task_from_config
from mmfeat.storage import check_value, files
from mmfeat.store import MANIFEST_FILE, describe_differences, read_manifest


class ModelConfig(ModelLayers):
    """What config.json must have. The task has more fields.

    If training chooses the columns and layers, these are in the manifest, as `chosen`.
    """

    task: str
    target: str
    split: dict[str, Any]


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to predict."""

    path: str
    config: dict[str, Any]
    """The content of config.json, with the layers that training has chosen."""
    module: Model
    columns: list[Column]
    """The feature columns, in the model's order, with the fingerprints of training."""
    task: Task
    target: str
    split: dict[str, Any]
    """The split rule of training."""

    @property
    def temperature(self) -> float:
        """The divisor of the logits."""
        return float(self.module.temperature)

    @cached_property
    def column_names(self) -> list[str]:
        """Names of the feature columns, in the model's order."""
        return [column.name for column in self.columns]

    def decode_with(self, options: DecodingOptions) -> None:
        """Set how texts are generated.

        Raises:
            MmfeatError: the model generates no texts, but the options are not the default.
        """
        if isinstance(self.module, DescriptionModel):
            self.module.decoding = options
        elif options != DecodingOptions():
            raise MmfeatError(
                "--decoding and its options are for models that describe",
                got=f"a model of the task {self.task.name!r}",
                cure="Leave them out",
            )

    def check_columns(self, columns: Mapping[str, Column]) -> None:
        """Check that the columns of a feature store are those of training.

        Raises:
            MmfeatError: a column is missing, or another encoder made it.
        """
        for column in self.columns:
            if column.name not in columns:
                raise MmfeatError(
                    f"the model in {self.path} needs the feature column {column.name!r}",
                    got=sorted(columns),
                    cure="Extract it with the encoder the model was trained on",
                )
            extracted = columns[column.name]
            if extracted.shape != column.shape or extracted.fingerprint != column.fingerprint:
                differences = describe_differences(column.facts, extracted.facts)
                raise MmfeatError(
                    f"the feature column {column.name!r} must have the fingerprint the model in "
                    f"{self.path} was trained on, {column.fingerprint[:12]}",
                    got=extracted.fingerprint[:12],
                    cure=f"Different: {differences or 'only the fingerprint'}. Extract it with "
                    "that encoder, or train on these features",
                )

    def predict(
        self,
        features: Mapping[str, np.ndarray],
        present: Mapping[str, np.ndarray] | None = None,
    ) -> Predictions:
        """Predict rows in bounded batches; a row gets the same scores in any batch.

        Args:
            features: column → float16 or float32, shape (rows, dim), or (rows, tokens, dim).
            present: column → bool, shape (rows,), or (rows, tokens). None: a column that
                `features` lacks is absent in all rows, and a vector with NaN is absent in its row.

        Raises:
            MmfeatError: unknown column or wrong shape.
        """
        if present is None:
            features, present = self._fill_missing(features)
        return predict(self.module, self.task, features, present)

    def _fill_missing(
        self, features: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the features of all columns, NaN if absent, and their presence."""
        if not isinstance(features, Mapping):
            raise MmfeatError(
                "features must be a mapping from columns to arrays",
                got=type(features).__name__,
                cure="Score a store of features with mmfeat.score",
            )
        unknown = sorted(set(features) - set(self.column_names))
        if unknown or not features:
            raise MmfeatError(
                f"features must be of the columns {', '.join(self.column_names)}", got=unknown
            )
        rows = len(next(iter(features.values())))
        filled: dict[str, np.ndarray] = {}
        for column in self.columns:
            tokens = (column.max_tokens,) if column.max_tokens else ()
            shape = (rows, *tokens, column.dim)
            values = features.get(column.name)
            values = np.full(shape, np.nan, np.float16) if values is None else np.asarray(values)
            if values.dtype.kind != "f":
                raise MmfeatError(
                    f"features of the column {column.name!r} must be floating-point numbers",
                    got=values.dtype,
                )
            if values.shape != shape:
                raise MmfeatError(
                    f"features of the column {column.name!r} must have the shape {shape}",
                    got=values.shape,
                )
            filled[column.name] = values
        return filled, {name: ~np.isnan(values).any(axis=-1) for name, values in filled.items()}

    def predict_shard(
        self, shard: Mapping[str, ColumnShard], rows: np.ndarray | None = None
    ) -> Predictions:
        """Predict rows of a shard, all by default, with bounded memory."""
        if rows is None:
            rows = np.arange(len(next(iter(shard.values())).present))
        parts = []
        for start in range(0, max(1, len(rows)), CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            columns = {c.name: shard[c.name].take(chunk, c.max_tokens) for c in self.columns}
            parts.append(
                self.predict(
                    {name: features for name, (features, _) in columns.items()},
                    {name: present for name, (_, present) in columns.items()},
                )
            )
        return concatenate_predictions(parts)


def load_model(path: str) -> LoadedModel:
    """Load a finished model.

    Raises:
        MmfeatError: there is no finished model.
        DamagedFileError: its configuration is incomplete, or its weights are damaged, not finite,
            or not those of the configuration.
    """
    manifest = read_manifest(path, "model")
    document, config = files.join(path, MANIFEST_FILE), model_config(manifest)
    check_value(config, ModelConfig, document)
    columns = [check_value(column, Column, document) for column in config["columns"]]
    task = task_from_config(config, document)
    architecture = architecture_from_config(config, columns, task.outputs)
    needed = [WEIGHTS, TOKENIZER] if isinstance(task, Describe) else [WEIGHTS]
    for name in needed:
        if name not in manifest["files"]:
            raise DamagedFileError(f"{document} must list {name} among its files")
    if isinstance(task, Describe):
        task = read_tokenizer(path, manifest["files"][TOKENIZER], task, architecture)
    weights = read_weights(path, manifest["files"][WEIGHTS])
    return LoadedModel(
        path=path,
        config=config,
        # Keep requires_grad: without it, a matrix product may round differently.
        module=restore_model(architecture, weights, files.join(path, WEIGHTS)).eval(),
        columns=columns,
        task=task,
        target=config["target"],
        split=config["split"],
    )
