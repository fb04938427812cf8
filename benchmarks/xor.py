"""Measure which fusions learn the exclusive or of two modalities.

    python -m benchmarks.xor [--combination linear] [--seeds 3] [--records 2500] [--fusions gmu,sum]

Each of the four combinations of two signs is equally likely, and no modality alone says anything
about the label. A combination without a hidden layer shows what the fusion itself can do. Each
fusion trains with the learning rate that is best on validation, as in `mmfeat compare`. `best
epoch` takes the epoch that is best on validation; `last epoch` trains for a fixed number. The last
line of the output is one JSON object.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mmfeat.config import split_commas
from mmfeat.models.architecture import LATE, LATE_STACKED, Architecture
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.saved_model import input_shapes
from mmfeat.system import print_err, show_table
from tests.training.stores import load, write_store, xor_records
from training.data import TEST, Dataset
from training.fit.fit_result import compute_logits
from training.fit.halving import fit_by_halving
from training.fit.loop import Training
from training.recipe import LEARNING_RATES, AdamWRecipe, default_batch_size

DIM = 16
"""Length of a feature."""

EPOCHS = 50


def main() -> None:
    """Train every fusion and print its accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--combination", default="linear", help="default: linear")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each fusion (default: 3)")
    parser.add_argument("--fusions", default="", help="default: all fusions of vectors")
    parser.add_argument("--records", type=int, default=2500, help="default: 2500")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = load(write_store(folder, xor_records(options.records, DIM)))
    names = [name for name, fusion in sorted(FUSIONS.items()) if not fusion.takes_tokens]
    names = [name for name in names if name != "single"] + [LATE, LATE_STACKED]
    rows = []
    for name in split_commas(options.fusions) or names:
        scores = [_measure(dataset, name, options.combination, s) for s in range(options.seeds)]
        best, last = np.array(scores).T
        rows.append((name, float(best.mean()), float(best.min()), float(last.mean())))
        print_err(f"xor: {name}: {best.round(2).tolist()}, {last.round(2).tolist()}")
    title = f"test accuracy, combination {options.combination}, {options.seeds} seeds"
    show_table(title, ["fusion", "best epoch", "lowest seed", "last epoch"], rows)
    result: dict[str, Any] = {
        name: {"best_epoch": best, "lowest_seed": low, "last_epoch": last}
        for name, best, low, last in rows
    }
    print(json.dumps({"combination": options.combination, "fusions": result}))


def _measure(dataset: Dataset, fusion: str, combination: str, seed: int) -> tuple[float, float]:
    """Return the test accuracy at the best epoch, and after all epochs of the same recipe."""
    layers = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=dataset.objective.task.outputs,
        fusion=fusion,
        combination=combination,
    )
    recipe = AdamWRecipe(
        metric="accuracy",
        seed=seed,
        epochs=EPOCHS,
        lr=0.0,
        weight_decay=0.01,
        batch_size=default_batch_size(len(dataset.split_rows["train"])),
        patience=10,
    )
    trainings = [Training(layers, dataset, replace(recipe, lr=lr)) for lr in LEARNING_RATES]
    best = max(fit_by_halving(trainings), key=lambda result: result.sort_key)
    whole = Training(layers, dataset, replace(best.recipe, patience=EPOCHS))
    whole.run()
    return _accuracy(best.module, dataset), _accuracy(whole.model, dataset)


def _accuracy(model: Any, dataset: Dataset) -> float:
    rows = dataset.split_rows[TEST]
    return float(
        (compute_logits(model, dataset, rows).argmax(axis=1) == dataset.targets[rows]).mean()
    )


if __name__ == "__main__":
    main()
