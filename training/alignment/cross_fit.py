"""Two models, each trained on one half of the training records, judge the other half.

A record's half is a hash of its key, and is judged by the model that was not trained on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features.column_reader import ColumnShard
from mmfeat.features.store import FeatureStore
from mmfeat.models.checkpoint import LoadedModel
from mmfeat.store import files
from training.alignment.align_report import AlignReportConfig
from training.data.dataset import load_dataset
from training.data.splits import TRAIN, VAL, SplitRule, fraction
from training.fit.fit_result import logits_of
from training.fit.loop import fit
from training.fit.recipe import StepRecipe
from training.fit.save_model import METRICS
from training.objectives import objective_for


@dataclass(frozen=True)
class Judges:
    """One model for all records, or one for each half of them."""

    models: Sequence[LoadedModel]

    def judge(
        self, keys: Sequence[str], columns: Mapping[str, ColumnShard]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores of a shard's records, shape (rows, outputs), and which can be scored."""
        predictions = [model.predict_shard(columns) for model in self.models]
        scores = predictions[0].scores
        if len(predictions) == 2:
            scores = np.where(in_second_half(keys)[:, None], predictions[1].scores, scores)
        return scores, predictions[0].scorable


def in_second_half(keys: Sequence[str]) -> np.ndarray:
    """Which records are judged by the second model, bool, shape (keys,)."""
    return np.array([fraction(key, "half") >= 0.5 for key in keys], bool)


def cross_fit(model: LoadedModel, config: AlignReportConfig) -> Judges:
    """Train as the model was, once on each half; with the learning rate that it chose."""
    store = FeatureStore(config.features)
    objective = objective_for(model.task, model.target)
    columns = [store.columns[name] for name in model.column_names]
    try:
        dataset = load_dataset(store, columns, objective, SplitRule(**model.split))
    except MmfeatError as error:
        raise MmfeatError(
            f"two models must be trained to judge, and cannot: {error.rule}",
            cure="Let the model itself judge with --no-cross-fit",
        ) from error
    second = np.concatenate(
        [
            in_second_half(store.read_samples(shard, ["__key__"])["__key__"].to_pylist())
            for shard in store.shards
        ]
    )
    recipe = _recipe(model)
    judges = []
    training, validation = dataset.parts[TRAIN], dataset.parts[VAL]
    # The first model judges the first half, so it learns from the second.
    for half in (training[second[training]], training[~second[training]]):
        part = replace(dataset, parts=dataset.parts | {TRAIN: half})
        fitted = fit(model.module.architecture, part, recipe)
        logits = logits_of(fitted.module, part, validation)
        objective.calibrate(fitted.module, dataset.targets[validation], logits)
        judges.append(replace(model, module=fitted.module))
    return Judges(judges)


def _recipe(model: LoadedModel) -> StepRecipe:
    names = [field.name for field in fields(StepRecipe) if field.name != "prior"]
    settled = {name: model.config[name] for name in names}
    chosen = files.read_json(files.join(model.path, METRICS)) or {}
    return StepRecipe(**(settled | {"lr": chosen["lr"]}))
