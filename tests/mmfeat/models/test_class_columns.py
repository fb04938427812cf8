"""Predictions of many classes: the most likely ones as lists instead of a column per class."""

import numpy as np
import pyarrow as pa
import pytest

from mmfeat.models.tasks import Multiclass, Multilabel, top_classes
from training.report.prediction_batches import PredictionBatch, PredictionSchema

SCORES = np.array([[0.1, 0.6, 0.3], [np.nan] * 3, [0.5, 0.2, 0.3]], np.float32)
SCORABLE = np.array([True, False, True])


@pytest.mark.parametrize("task", [Multiclass(list("abc")), Multilabel(list("abc"))])
def test_top_classes_are_lists_best_first(task: Multiclass | Multilabel) -> None:
    columns = task.to_columns(SCORES, np.full(3, 0.5), SCORABLE, top=2)
    assert not any(name.startswith("p_") for name in columns)
    assert columns["top_classes"].to_pylist() == [["b", "c"], None, ["a", "c"]]
    assert columns["top_probabilities"].type == pa.list_(pa.float32())
    first, middle, last = columns["top_probabilities"].to_pylist()
    assert (first, middle, last) == (pytest.approx([0.6, 0.3]), None, pytest.approx([0.5, 0.3]))


@pytest.mark.parametrize(
    ("classes", "asked", "written"),
    [(100, None, 0), (101, None, 10), (101, 0, 0), (3, 2, 2), (3, 9, 3)],
)
def test_few_classes_have_columns_unless_asked(
    classes: int, asked: int | None, written: int
) -> None:
    assert top_classes(classes, asked) == written
    task = Multiclass([f"class {n}" for n in range(classes)])
    scores = np.full((1, classes), 1 / classes, np.float32)
    columns = task.to_columns(scores, np.zeros(classes), np.ones(1, bool), asked)
    assert sum(name.startswith("p_") for name in columns) == (0 if written else classes)
    assert ("top_classes" in columns) == bool(written)


def test_reports_read_the_probabilities_of_lists() -> None:
    columns = Multiclass(list("abc")).to_columns(SCORES, np.zeros(3), SCORABLE, top=2)
    batch = PredictionBatch(pa.table(columns), PredictionSchema("multiclass", list("abc"), []))
    assert batch.probabilities == pytest.approx(np.array([[0, 0.6, 0.3], [0, 0, 0], [0.5, 0, 0.3]]))
