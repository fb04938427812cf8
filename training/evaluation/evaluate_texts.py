"""What evaluating texts needs beside classes: losses of references, and baselines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmfeat.features import ColumnShard, FeatureStore
from mmfeat.models.inference import CHUNK_ROWS
from mmfeat.models.saved_model import LoadedModel
from mmfeat.system import print_out, show_table
from training.data import TRAIN, USED, SampleRows, store_reader
from training.evaluation.text_baselines import BASELINES, compare_with_baselines, warn_of_texts
from training.objectives.describe import DescribeObjective

_NAMES = {"model": "this model", **BASELINES}


def complete_scores(
    model: LoadedModel,
    objective: DescribeObjective,
    columns: Mapping[str, ColumnShard],
    rows: np.ndarray,
    targets: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Add the losses of the references to the scores of some rows of a shard, in place.

    Args:
        model: the model.
        objective: has the texts.
        columns: the columns of the shard.
        rows: int64, row numbers in the shard.
        targets: numbers of the texts of these rows.
        scores: shape (rows, outputs).
    """
    for start in range(0, len(rows), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        taken = {c.name: columns[c.name].take(rows[part], c.max_tokens) for c in model.columns}
        scores[part] = objective.complete_outputs(
            model.module,
            {name: features for name, (features, _) in taken.items()},
            {name: present for name, (_, present) in taken.items()},
            targets[part],
            scores[part],
        )


class TextRowNumbers:
    """Collects the numbers of all rows, shard by shard, for the baselines."""

    def __init__(self) -> None:
        self._targets: list[np.ndarray] = []
        self._training: list[np.ndarray] = []
        self._used: list[np.ndarray] = []
        self._count = 0

    def append(self, rows: SampleRows, used: np.ndarray) -> None:
        """Add the rows of a shard.

        Args:
            rows: all rows of the shard.
            used: int64, the evaluated rows.
        """
        is_training = rows.in_split(TRAIN) & (rows.reasons() == USED)
        self._targets.append(rows.targets)
        self._training.append(self._count + np.flatnonzero(is_training))
        self._used.append(self._count + used)
        self._count += len(rows.targets)

    def compare_with_baselines(
        self,
        model: LoadedModel,
        store: FeatureStore,
        objective: DescribeObjective,
        texts: Sequence[str],
    ) -> dict[str, Any]:
        """See `training.evaluation.text_baselines`."""
        return compare_with_baselines(
            store_reader(store, model.columns),
            objective,
            np.concatenate(self._targets),
            np.concatenate(self._training),
            np.concatenate(self._used),
            texts,
        )


def show_texts(result: Mapping[str, Any]) -> None:
    """Print the baselines and the copies of the metrics of a describing model."""
    baselines, copies = result["baselines"], result["copies"]
    metrics = baselines["metrics"]
    names = list(metrics["model"])
    show_table(
        f"beside baselines, on {baselines['rows']:,} rows",
        ["", *(name.replace("_", " ") for name in names)],
        [[_NAMES[who], *values.values()] for who, values in metrics.items()],
    )
    print_out(
        f"copies: {copies['rows']:,} of {result['rows']:,} generated texts are texts of training "
        f"records ({copies['fraction']:.1%})"
    )
    for line in warn_of_texts(result):
        print_out(f"warning: {line}")
