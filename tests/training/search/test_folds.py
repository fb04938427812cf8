"""Folds keep groups and equal features together, spread the classes, and cover every row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmfeat.features import FeatureStore
from tests.training.stores import Records, load, write_store
from training.data import TRAIN, VAL
from training.search.folds import assign_folds, group_rows, make_folds


def write(folder: Path, count: int = 120, copies: int = 4) -> str:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(count, 6))
    text = np.repeat(rng.normal(size=(-(-count // copies), 5)), copies, axis=0)[:count]
    return write_store(
        str(folder),
        Records(
            features={"image": image, "text": text},
            metadata={
                "label": [f"c{row // copies % 3}" for row in range(count)],
                "split": (["train"] * 7 + ["val"] * 2 + ["test"]) * (count // 10),
            },
        ),
    )


def test_rows_with_equal_features_share_a_fold(tmp_path: Path) -> None:
    path = write(tmp_path)
    dataset = load(path)
    folds = make_folds(dataset, FeatureStore(path), 5)
    assert folds.is_crossed
    fold_of = {int(folds.rows[p]): n for n, part in enumerate(folds.parts) for p in part}
    for row, fold in fold_of.items():
        copies = [other for other in fold_of if other // 4 == row // 4]
        assert {fold_of[other] for other in copies} == {fold}


def test_every_row_is_predicted_once_and_never_by_its_own_model(tmp_path: Path) -> None:
    path = write(tmp_path)
    dataset = load(path)
    folds = make_folds(dataset, FeatureStore(path), 4)
    expected = np.sort(np.concatenate([dataset.split_rows[s] for s in (TRAIN, VAL)]))
    np.testing.assert_array_equal(folds.rows, expected)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds.parts)), np.arange(len(expected)))
    for part, fold in zip(folds.parts, folds.datasets, strict=True):
        np.testing.assert_array_equal(fold.split_rows[VAL], folds.rows[part])
        assert not set(fold.split_rows[TRAIN]) & set(fold.split_rows[VAL])
        assert not set(fold.split_rows[TRAIN]) & set(dataset.split_rows["test"])


def test_without_folds_validation_chooses(tmp_path: Path) -> None:
    path = write(tmp_path)
    dataset = load(path)
    folds = make_folds(dataset, FeatureStore(path), 0)
    assert not folds.is_crossed
    np.testing.assert_array_equal(folds.rows, dataset.split_rows[VAL])
    np.testing.assert_array_equal(folds.whole.split_rows[TRAIN], dataset.split_rows[TRAIN])


def test_a_placeholder_does_not_join_all_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = {"image": rng.normal(size=(100, 4)), "text": np.ones((100, 3))}
    metadata: dict[str, Sequence[Any]] = {
        "label": ["a", "b"] * 50,
        "split": ["train", "train", "val", "train"] * 25,
    }
    path = write_store(str(tmp_path), Records(features, metadata))
    dataset = load(path)
    groups = group_rows(dataset, FeatureStore(path), np.arange(100))
    assert len(np.unique(groups)) == 100


def test_classes_and_sizes_are_even() -> None:
    groups, classes = np.arange(100), np.arange(100) % 4
    numbers = assign_folds(groups, classes, 5)
    for kind in range(4):
        assert np.bincount(numbers[classes == kind], minlength=5).tolist() == [5] * 5
    large = np.array([0] * 10 + list(range(1, 11)))
    assert np.bincount(assign_folds(large, np.zeros(20, int), 2)).tolist() == [10, 10]


def test_reading_in_parts_changes_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    dataset, store = load(path), FeatureStore(path)
    rows = np.arange(len(dataset.targets))
    whole = group_rows(dataset, store, rows)
    monkeypatch.setattr("training.search.folds._PART_ROWS", 7)
    np.testing.assert_array_equal(group_rows(dataset, store, rows), whole)
