"""A model on disk: config.json and model.safetensors, never a pickle.

MODEL/config.json         the claim: all that determines the weights and rebuilds the layers
MODEL/model.safetensors   the weights, the temperature and the thresholds
MODEL/metrics.json        quality on validation and test
MODEL/log.jsonl           one line an epoch
MODEL/manifest.json       written last: a model without it is not finished
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import safetensors
import safetensors.torch

from mmfeat.errors import MmfeatError
from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import ColumnShard
from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.models.inference import PART, Predictions, join_predictions, predict
from mmfeat.models.tasks import Task, task_of
from mmfeat.store import files
from mmfeat.store.directory import read_manifest

WEIGHTS = "model.safetensors"

_LAYERS = ("fusion", "combination", "hidden", "dropout", "modality_dropout")
"""What config.json holds of the architecture, beside the columns and the task."""


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to predict."""

    path: str
    config: dict[str, Any]
    """The configuration it was trained with, as config.json holds it."""
    module: Model
    columns: list[Column]
    """The feature columns it takes, in its order, with the fingerprints it was trained on."""
    task: Task
    """What its outputs mean."""
    target: str
    split: dict[str, Any]
    """The split rule it was trained with."""

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        return float(self.module.temperature)

    @cached_property
    def column_names(self) -> list[str]:
        """Names of the feature columns, in the model's order."""
        return [column.name for column in self.columns]

    def check_columns(self, there: Mapping[str, Column]) -> None:
        """Check that a feature store's columns are those the model was trained on.

        Raises:
            MmfeatError: a column is not there, or another encoder made it.
        """
        for column in self.columns:
            if column.name not in there:
                raise MmfeatError(
                    f"the model in {self.path} needs the feature column {column.name!r}; "
                    f"there are: {', '.join(sorted(there))}",
                    cure="Extract it with the encoder the model was trained on",
                )
            found = there[column.name].fingerprint
            if found != column.fingerprint:
                raise MmfeatError(
                    f"the feature column {column.name!r} must have the fingerprint the model in "
                    f"{self.path} was trained on, {column.fingerprint}",
                    got=found,
                    cure="Extract it with that encoder, or train on these features",
                )

    def predict(
        self,
        features: Mapping[str, np.ndarray],
        present: Mapping[str, np.ndarray] | None = None,
    ) -> Predictions:
        """Predict rows, in bounded batches; the same row gives the same bits in any batch.

        Args:
            features: column → float16 or float32, shape (rows, dim), or (rows, tokens, dim).
            present: column → bool, shape (rows,), or (rows, tokens). None: a column that is not
                named is missing in all rows, and a vector of NaN is missing in its row.

        Raises:
            MmfeatError: features that do not have the shape the model takes.
        """
        if present is None:
            features, present = self._completed(features)
        return predict(self.module, self.task, features, present)

    def _completed(
        self, features: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """All the model's columns, and what is there of them."""
        unknown = sorted(set(features) - set(self.column_names))
        if unknown or not features:
            raise MmfeatError(
                f"features must be of the columns {', '.join(self.column_names)}", got=unknown
            )
        rows = len(next(iter(features.values())))
        complete: dict[str, np.ndarray] = {}
        for column in self.columns:
            tokens = (column.max_tokens,) if column.max_tokens else ()
            shape = (rows, *tokens, column.dim)
            values = features.get(column.name)
            values = np.full(shape, np.nan, np.float16) if values is None else np.asarray(values)
            if values.shape != shape:
                raise MmfeatError(
                    f"features of the column {column.name!r} must have the shape {shape}",
                    got=values.shape,
                )
            complete[column.name] = values
        present = {name: ~np.isnan(values).any(axis=-1) for name, values in complete.items()}
        return complete, present

    def predict_shard(
        self, shard: Mapping[str, ColumnShard], rows: np.ndarray | None = None
    ) -> Predictions:
        """Predict rows of a shard, all of them or some, a bounded part at a time."""
        if rows is None:
            rows = np.arange(len(next(iter(shard.values())).present))
        parts = []
        for start in range(0, max(1, len(rows)), PART):
            taken = {
                column.name: shard[column.name].take(rows[start : start + PART], column.max_tokens)
                for column in self.columns
            }
            parts.append(
                self.predict(
                    {name: features for name, (features, _) in taken.items()},
                    {name: present for name, (_, present) in taken.items()},
                )
            )
        return join_predictions(parts)


def input_shapes(columns: Sequence[Column]) -> dict[str, Any]:
    """What an `Architecture` is told of the columns a model takes."""
    return {
        "dims": {column.name: column.dim for column in columns},
        "tokens": {column.name: column.max_tokens for column in columns if column.max_tokens},
    }


def save_weights(folder: str, module: Model) -> dict[str, Any]:
    """Write model.safetensors; returns what the manifest says of the file."""
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    with files.create(files.join(folder, WEIGHTS)) as output:
        output.write(safetensors.torch.save(state))
    return output.describe()


def load_model(path: str) -> LoadedModel:
    """Load a finished model.

    Raises:
        MmfeatError: no finished model at the path, or its weights are not those it was saved with.
    """
    manifest = read_manifest(path, "model")
    config = manifest["config"]
    columns = [Column(**facts) for facts in config["columns"]]
    task = task_of(config)
    layers = {name: config[name] for name in _LAYERS}
    module = build_model(Architecture(**input_shapes(columns), outputs=task.outputs, **layers))
    module.load_state_dict(_read_weights(path, manifest["files"][WEIGHTS]["sha256"]))
    return LoadedModel(
        path=path,
        config=config,
        module=module.eval(),  # weights without gradient would round otherwise in a product
        columns=columns,
        task=task,
        target=config["target"],
        split=config["split"],
    )


def _read_weights(path: str, sha256: str) -> dict[str, Any]:
    """The tensors of model.safetensors, once the file is known to be the one that was saved."""
    name = files.join(path, WEIGHTS)
    try:
        with files.open_input(name) as file:
            data = file.read()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise MmfeatError(
            f"{name} must be the file its manifest names (sha256 {sha256[:12]}…)",
            got=f"{len(data):,} bytes of another",
            cure="Copy the model again, or remove its directory and train again",
        )
    return safetensors.torch.load(data)
