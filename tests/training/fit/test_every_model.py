"""Every fusion with every combination goes the whole way: train, save, load, score."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from mmfeat.features.store import FeatureStore
from mmfeat.models.architecture import LATE, LATE_STACKED, LOGISTIC, RIDGE, Architecture
from mmfeat.models.checkpoint import WEIGHTS, input_shapes, load_model, save_weights
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.store.directory import claim, write_manifest
from tests.training.stores import Records, load, write_store
from training.fit.candidates import fit_recipe
from training.fit.recipe import ProbeRecipe, RidgeRecipe, StepRecipe
from training.fit.ridge import solve_ridge

LAYERED = sorted({*FUSIONS, LATE, LATE_STACKED} - {"single"})
SYSTEMS = [
    *((fusion, combination) for fusion in LAYERED for combination in sorted(COMBINATIONS)),
    (LOGISTIC, "linear"),
    (RIDGE, "linear"),
]
STEPS = StepRecipe(
    metric="accuracy", seed=0, epochs=2, lr=3e-3, weight_decay=0.01, batch_size=32, patience=2
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """90 records of two pooled columns and one of tokens; each lacks some."""
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
@pytest.mark.parametrize(("fusion", "combination"), SYSTEMS)
def test_it_trains_saves_loads_and_scores_the_same(
    store: str, tmp_path: Path, fusion: str, combination: str, columns: list[str]
) -> None:
    dataset = load(store, columns)
    kept = dataset.features.columns
    task = dataset.objective.task
    layers = {"fusion": fusion, "combination": combination, "hidden": 8, "dropout": 0.1}
    layers["modality_dropout"] = 0.2
    architecture = Architecture(**input_shapes(kept), outputs=task.outputs, **layers)
    if fusion == RIDGE:
        recipe = RidgeRecipe(metric="accuracy", seed=0, epochs=1, inverse_penalty=1.0)
        (fitted,) = solve_ridge(architecture, dataset, [recipe])
    elif fusion == LOGISTIC:
        probe = ProbeRecipe(metric="accuracy", seed=0, epochs=2, inverse_penalty=1.0)
        fitted = fit_recipe(architecture, dataset, probe)
    else:
        fitted = fit_recipe(architecture, dataset, STEPS)
    folder = str(tmp_path)
    config = {"target": "label", "split": {"column": "split"}, **task.facts, **layers}
    config_hash = claim(folder, "model", config | {"columns": [asdict(c) for c in kept]})
    weights = save_weights(folder, fitted.module)
    write_manifest(folder, "model", config_hash, files={WEIGHTS: weights})

    model = load_model(folder)
    trained = replace(model, module=fitted.module.eval())
    shards = FeatureStore(store)
    for shard in shards.shards:
        columns_of = {c.name: shards.read_column(c.name, shard) for c in kept}
        before, after = trained.predict_shard(columns_of), model.predict_shard(columns_of)
        np.testing.assert_array_equal(after.scores, before.scores)
        there = np.any([columns_of[c.name].present for c in kept], axis=0)
        np.testing.assert_array_equal(after.scorable, there)
        assert np.isfinite(after.scores[there]).all()
