"""Every fusion with every combination: train, save, load, score."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from mmfeat.features.store import FeatureStore
from mmfeat.models.architecture import LATE, LATE_STACKED, LOGISTIC, RIDGE, Architecture
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.saved_model import WEIGHTS, input_shapes, load_model, save_weights
from mmfeat.store.directory import open_run
from mmfeat.store.manifest import write_manifest
from tests.training.stores import Records, load, write_store
from training.fit.candidates import fit_recipes
from training.recipe import AdamWRecipe, LogisticRecipe, Recipe, RidgeRecipe

LAYERED = sorted({*FUSIONS, LATE, LATE_STACKED} - {"single"})
MODELS = [
    *((fusion, combination) for fusion in LAYERED for combination in sorted(COMBINATIONS)),
    (LOGISTIC, "linear"),
    (RIDGE, "linear"),
]
ADAMW = AdamWRecipe(
    metric="accuracy", seed=0, epochs=2, lr=3e-3, weight_decay=0.01, batch_size=32, patience=2
)
RECIPES: dict[str, Recipe] = {
    LOGISTIC: LogisticRecipe(metric="accuracy", seed=0, epochs=2, inverse_penalty=1.0),
    RIDGE: RidgeRecipe(metric="accuracy", seed=0, epochs=1, inverse_penalty=1.0),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """90 records of two pooled columns and one token column, all with gaps."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 90)
    centre = rng.normal(size=(3, 6))[label]
    records = Records(
        features={
            "image": centre + rng.normal(0, 0.5, (90, 6)),
            "text": centre[:, :5] + rng.normal(0, 0.5, (90, 5)),
            "sound": centre[:, None, :4] + rng.normal(0, 0.5, (90, 3, 4)),
        },
        metadata={
            "label": [str(number) for number in label],
            "split": ["train", "train", "val"] * 30,
        },
        present={name: rng.random(90) < 0.8 for name in ("image", "text", "sound")},
    )
    return write_store(str(tmp_path_factory.mktemp("every") / "features"), records, shards=3)


@pytest.mark.parametrize("columns", [["text", "sound"], ["image", "text", "sound"]], ids=len)
@pytest.mark.parametrize(("fusion", "combination"), MODELS)
def test_a_loaded_model_scores_like_the_trained_one(
    store: str, tmp_path: Path, fusion: str, combination: str, columns: list[str]
) -> None:
    dataset = load(store, columns)
    used = dataset.features.columns
    task = dataset.objective.task
    layers = {"fusion": fusion, "combination": combination, "hidden": 8, "dropout": 0.1}
    layers["modality_dropout"] = 0.2
    architecture = Architecture(**input_shapes(used), outputs=task.outputs, **layers)
    (result,) = fit_recipes(architecture, dataset, [RECIPES.get(fusion, ADAMW)])
    folder = str(tmp_path)
    config = {"target": "label", "split": {"column": "split"}, **task.config, **layers}
    config_hash = open_run(folder, "model", config | {"columns": [asdict(c) for c in used]})
    weights = save_weights(folder, result.module)
    write_manifest(folder, "model", config_hash, files={WEIGHTS: weights})

    model = load_model(folder)
    trained = replace(model, module=result.module.eval())
    shards = FeatureStore(store)
    for shard in shards.shards:
        columns_of = {c.name: shards.read_column(c.name, shard) for c in used}
        before, after = trained.predict_shard(columns_of), model.predict_shard(columns_of)
        np.testing.assert_array_equal(after.scores, before.scores)
        present = np.any([columns_of[c.name].present for c in used], axis=0)
        np.testing.assert_array_equal(after.scorable, present)
        assert np.isfinite(after.scores[present]).all()
