import numpy as np
import pytest

from mmfeat.features import ColumnShard
from mmfeat.features.column_format import Column
from training.data.feature_reader import memory_reader
from training.evaluation import text_baselines
from training.evaluation.text_baselines import (
    compare_with_baselines,
    find_nearest,
    warn_of_texts,
)
from training.objectives.describe import DescribeObjective


def make_reader(**vectors: np.ndarray):
    columns, shards = [], {}
    for name, values in vectors.items():
        columns.append(Column(name, name, values.shape[1], "print", {}, "float32"))
        present = ~np.isnan(values).any(axis=1)
        shards[name] = ColumnShard(np.nan_to_num(values).astype(np.float32), present, None)
    return memory_reader(columns, shards)


def brute_force(vectors: dict[str, np.ndarray], queries: np.ndarray, rows: np.ndarray):
    similarity = np.zeros((len(queries), len(rows)))
    for values in vectors.values():
        known = ~np.isnan(values).any(axis=1)
        mean = values[rows][known[rows]].mean(axis=0)
        centered = np.where(known[:, None], values - mean, 0)
        unit = centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-12)
        similarity += unit[queries] @ unit[rows].T
    return similarity.argmax(axis=1)


def test_neighbours_are_those_of_a_brute_force_search(monkeypatch):
    monkeypatch.setattr(text_baselines, "_PART_ROWS", 7)
    random = np.random.default_rng(0)
    vectors = {"image": random.normal(size=(60, 5)), "text": random.normal(size=(60, 3)) + 9}
    vectors["image"][::7] = np.nan
    monkeypatch.setattr(text_baselines, "_MEAN_ROWS", 60)
    rows, queries = np.arange(40), np.arange(40, 60)
    found = find_nearest(make_reader(**vectors), queries, rows)
    np.testing.assert_array_equal(found, brute_force(vectors, queries, rows))


@pytest.fixture
def objective() -> DescribeObjective:
    objective = DescribeObjective("caption")
    texts = ["a cat", "a cat", "a dog", "two birds", "a cat", "a fox"]
    objective.texts.append([[text] for text in texts])
    return objective


def compare(objective: DescribeObjective, texts: list[str], training: list[int]):
    reader = make_reader(image=np.array([[0.0, 1], [0, 1.1], [1, 0], [-1, -1], [1, 0.1], [-1, -2]]))
    rows = np.array([4, 5])
    return compare_with_baselines(
        reader, objective, np.arange(6), np.array(training, np.int64), rows, texts
    )


def test_baselines_are_the_most_frequent_and_the_nearest_text(objective):
    result = compare(objective, ["a cat", "a  dog"], [0, 1, 2, 3])
    baselines = result["baselines"]
    assert baselines["most_frequent_text"] == "a cat"
    # The most frequent text is that of record 4, its neighbour is a dog; record 5's are two birds.
    assert baselines["metrics"]["most_frequent"]["exact_match"] == 0.5
    assert baselines["metrics"]["nearest_neighbour"]["exact_match"] == 0
    assert baselines["metrics"]["model"]["exact_match"] == 0.5
    assert baselines["rows"] == 2


def test_texts_of_training_records_are_copies_but_for_spaces(objective):
    copies = compare(objective, ["a  cat", "a fox and a dog"], [0, 1, 2, 3])["copies"]
    assert copies == {"rows": 1, "fraction": 0.5, "most_frequent": {"a  cat": 1}}


def test_texts_that_lose_to_baselines_or_are_all_the_same_are_warned_of(objective):
    same, below = warn_of_texts(compare(objective, ["&", "&"], [0, 1, 2, 3]))
    assert same == "one text for all of 2 rows: train longer, or on more rows"
    assert below.startswith("CIDEr 0.00 is below baselines: most frequent text of training ")
    assert warn_of_texts(compare(objective, ["a cat", "two birds"], [0, 1, 2, 3])) == []
    assert warn_of_texts({}) == []


def test_without_training_rows_there_are_no_baselines(objective):
    assert compare(objective, ["a cat", "a dog"], []) == {}


def test_more_rows_than_the_limit_are_sampled(objective, monkeypatch):
    monkeypatch.setattr(text_baselines, "MAX_QUERIES", 1)
    assert compare(objective, ["a cat", "a dog"], [0, 1])["baselines"]["rows"] == 1
