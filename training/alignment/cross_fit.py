"""Score every record with a model that was not trained on it.

A hash of the key assigns each record to one of two folds. Two models are trained, each on one
fold of the training records, and each scores the other fold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features import ColumnShard, FeatureStore
from mmfeat.models.saved_model import LoadedModel
from mmfeat.storage import check_value, files, read_document
from training.alignment.config import AlignReportConfig
from training.data import TRAIN, VAL, SplitRule, hash_fraction, load_dataset
from training.fit.fit_result import compute_logits
from training.fit.loop import fit_adamw
from training.fit.saving.save_model import METRICS
from training.objectives.registry import objective_for
from training.recipe import AdamWRecipe


@dataclass(frozen=True)
class FoldModels:
    """One model for all records, or one model per fold."""

    models: Sequence[LoadedModel]

    def predict(
        self, keys: Sequence[str], columns: Mapping[str, ColumnShard]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score the records of a shard.

        Returns:
            Scores, shape (rows, outputs), and which rows could be scored, bool, shape (rows,).
        """
        predictions = [model.predict_shard(columns) for model in self.models]
        scores = predictions[0].scores
        if len(predictions) == 2:
            scores = np.where(_in_second_fold(keys)[:, None], predictions[1].scores, scores)
        return scores, predictions[0].scorable


def _in_second_fold(keys: Sequence[str]) -> np.ndarray:
    """Return which records belong to the second fold, bool, shape (keys,)."""
    return np.array([hash_fraction(key, "half") >= 0.5 for key in keys], bool)


def cross_fit(model: LoadedModel, config: AlignReportConfig) -> FoldModels:
    """Train a model like `model` for each fold, with the learning rate that `model` chose.

    Raises:
        MmfeatError: the features do not have the records to train on.
    """
    store = FeatureStore(config.features)
    objective = objective_for(model.task, model.target)
    columns = [store.columns[name] for name in model.column_names]
    try:
        dataset = load_dataset(store, columns, objective, SplitRule.from_config(model.split))
    except MmfeatError as error:
        raise MmfeatError(
            f"cross-fitting trains two models on {config.features} and failed: {error.rule}",
            cure="Score with the model itself: --no-cross-fit",
        ) from error
    in_second_fold = np.concatenate(
        [
            _in_second_fold(store.read_samples(shard, ["__key__"])["__key__"].to_pylist())
            for shard in store.shards
        ]
    )
    recipe = _recipe(model)
    models = []
    training, validation = dataset.split_rows[TRAIN], dataset.split_rows[VAL]
    # The first model scores the first fold, so it is trained on the second.
    for fold in (training[in_second_fold[training]], training[~in_second_fold[training]]):
        fold_dataset = replace(dataset, split_rows=dataset.split_rows | {TRAIN: fold})
        fitted = fit_adamw(model.module.architecture, fold_dataset, recipe)
        logits = compute_logits(fitted.module, fold_dataset, validation)
        objective.calibrate(fitted.module, dataset.targets[validation], logits)
        models.append(replace(model, module=fitted.module))
    return FoldModels(models)


def _recipe(model: LoadedModel) -> AdamWRecipe:
    path = files.join(model.path, METRICS)
    metrics = read_document(path, dict[str, Any]) or {}
    options = {**model.config, "prior": (), "lr": metrics.get("lr")}
    return check_value(options, AdamWRecipe, f"{path} or the configuration of its model")
