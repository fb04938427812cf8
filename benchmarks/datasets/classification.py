"""Rows of two modalities whose class depends on both, and on noise."""

from collections.abc import Mapping

import numpy as np

from mmfeat.features import Column, ColumnShard
from mmfeat.models.tasks import Multiclass
from training.data import Dataset, SplitRule
from training.data.feature_reader import memory_reader
from training.data.leakage import Leakage
from training.objectives.registry import OBJECTIVES

CLASSES = 10

_LATENT, _HIDDEN = 16, 48
_NOISE = 0.7
"""Standard deviation of the noise of a feature, whose signal has about 1."""
_TEMPERATURE = 0.15
"""Noise of the class: the larger, the more rows have a class that nothing tells."""
_PART = 20_000


def make_dataset(
    columns: Mapping[str, int], training_rows: int, validation_rows: int, seed: int = 0
) -> Dataset:
    """Return rows in memory, the first ones for training, the last ones for validation.

    A random network of two layers reads hidden variables of all modalities and draws the class.
    The features are random linear maps of the hidden variables, with noise.

    Args:
        columns: column → length of its float16 vectors.
        training_rows: rows of the split train.
        validation_rows: rows of the split val.
        seed: seed of everything.
    """
    rng = np.random.default_rng(seed)
    rows = training_rows + validation_rows
    maps = {name: rng.standard_normal((_LATENT, dim), np.float32) for name, dim in columns.items()}
    first = rng.standard_normal((_LATENT * len(columns), _HIDDEN), np.float32)
    second = rng.standard_normal((_HIDDEN, CLASSES), np.float32)
    features = {name: np.empty((rows, dim), np.float16) for name, dim in columns.items()}
    targets = np.empty(rows, np.int64)
    for start in range(0, rows, _PART):
        part = slice(start, min(start + _PART, rows))
        count = part.stop - start
        hidden = {name: rng.standard_normal((count, _LATENT), np.float32) for name in columns}
        for name, dim in columns.items():
            signal = hidden[name] @ maps[name] / np.sqrt(_LATENT)
            features[name][part] = signal + _NOISE * rng.standard_normal((count, dim), np.float32)
        both = np.concatenate(list(hidden.values()), axis=1)
        scores = np.tanh(2 * both @ first / np.sqrt(len(first))) @ second / np.sqrt(_HIDDEN)
        targets[part] = (scores + _TEMPERATURE * rng.gumbel(size=scores.shape)).argmax(axis=1)
    present = np.ones(rows, bool)
    objective = OBJECTIVES["multiclass"]("label")
    objective.bind_task(Multiclass([f"{number:02d}" for number in range(CLASSES)]))
    described = [Column(name, name, dim, "made", {}) for name, dim in columns.items()]
    return Dataset(
        features=memory_reader(
            described,
            {name: ColumnShard(values, present, None) for name, values in features.items()},
        ),
        present=dict.fromkeys(columns, present),
        targets=targets,
        split_rows={
            "train": np.arange(training_rows),
            "val": np.arange(training_rows, rows),
            "test": np.arange(0),
        },
        objective=objective,
        rule=SplitRule(),
        left_out={},
        leakage=Leakage({}),
    )
