"""Out-of-fold probabilities: each record is judged by a model of the other records."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmfeat.features import Column, FeatureStore
from mmfeat.models.architecture import LOGISTIC, Architecture
from mmfeat.models.saved_model import input_shapes
from mmfeat.system import ProgressBar
from training.data import TRAIN, VAL, Dataset, SplitRule, load_dataset
from training.fit.fit_result import compute_logits
from training.fit.linear import fit_logistic
from training.objectives.multiclass import MulticlassObjective
from training.recipe import LogisticRecipe
from training.search.folds import assign_folds

_EPOCHS = 4
"""Of at most 20 iterations of L-BFGS."""

_PART_ROWS = 8192


def load_labels(
    store: FeatureStore, columns: Sequence[Column], objective: MulticlassObjective
) -> tuple[Dataset, np.ndarray]:
    """Read the labels of a store.

    Args:
        store: the features.
        columns: the columns to use.
        objective: reads the labels.

    Returns:
        The dataset, and the rows with a label that can be judged: int64, ascending.
    """
    # Which rows are training rows does not matter, but every class needs some.
    dataset = load_dataset(store, columns, objective, SplitRule(), stratify=True)
    rows = np.sort(np.concatenate(list(dataset.split_rows.values())))
    return dataset, rows[objective.has_known_label(dataset.targets[rows])]


def predict_out_of_fold(
    dataset: Dataset, rows: np.ndarray, groups: np.ndarray, folds: int, output: np.ndarray
) -> None:
    """Write the probabilities of each row by a logistic regression of the other folds.

    Args:
        dataset: the dataset.
        rows: int64, ascending: the rows.
        groups: group number of each row; rows of a group share a fold.
        folds: number of folds.
        output: float32, shape (rows, classes); may be a file.
    """
    objective = dataset.objective
    strata = objective.strata(dataset.targets[rows])
    numbers = assign_folds(groups, strata, min(folds, len(np.unique(groups))))
    architecture = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=objective.task.outputs,
        fusion=LOGISTIC,
        combination="linear",
        dropout=0.0,
        modality_dropout=0.0,
    )
    recipe = LogisticRecipe(metric=objective.metrics[0], seed=0, epochs=_EPOCHS, inverse_penalty=1)
    with ProgressBar("audit", len(rows), "records judged") as bar:
        for fold in range(int(numbers.max()) + 1):
            own = np.flatnonzero(numbers == fold)
            split_rows = {TRAIN: rows[numbers != fold], VAL: rows[own]}
            part = replace(dataset, split_rows=dataset.split_rows | split_rows)
            model = fit_logistic(architecture, part, recipe).module
            for start in range(0, len(own), _PART_ROWS):
                places = own[start : start + _PART_ROWS]
                logits = compute_logits(model, part, rows[places])
                output[places] = objective.task.to_scores(logits, 1.0)
            bar.advance(len(own))
