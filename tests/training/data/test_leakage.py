"""Leakage between splits is counted and reported."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.features.row_hashes import row_hashes
from training.data.leakage import Leakage, find_leakage
from training.train import main as train

PARTS = {"train": np.arange(4), "val": np.array([4, 5]), "test": np.array([6, 7, 8])}
QUICK = ["--target", "label", "--fusion", "gmu", "--epochs", "1", "--lr", "0.01", "--hidden", "8"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_only_equal_vectors_have_equal_hashes(dtype: type) -> None:
    rng = np.random.default_rng(0)
    x: np.ndarray = rng.normal(size=(2000, 8)).astype(dtype)
    x[1000:] = x[:1000]
    hashes = row_hashes(x, np.ones(2000, bool))
    assert (hashes[:1000] == hashes[1000:]).all()
    assert len(np.unique(hashes)) == 1000
    # Another last bit, or another order, is another vector.
    assert row_hashes(np.nextafter(x[:1], dtype(9)), np.ones(1, bool)) != hashes[0]
    assert row_hashes(x[:1, ::-1], np.ones(1, bool)) != hashes[0]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=9, max_size=9))
def test_find_leakage_equals_a_search(values: list[int]) -> None:
    x = np.array(values, np.float32)[:, None] + 1
    present = np.array(values) > 0
    leakage = find_leakage({"x": row_hashes(x, present)}, PARTS)
    for split in ("val", "test"):
        expected = sum(values[row] > 0 and values[row] in values[:4] for row in PARTS[split])
        assert leakage.rows[split] == {"x": expected}


def test_equal_text_beside_another_image_is_not_the_same_record() -> None:
    image = np.arange(9, dtype=np.float32)[:, None] + 1
    text = np.ones((9, 1), np.float32)
    image[8] = image[0]
    present = np.ones(9, bool)
    leakage = find_leakage(
        {"image": row_hashes(image, present), "text": row_hashes(text, present)}, PARTS
    )
    assert leakage.rows["test"] == {"image": 1, "text": 3, "all columns": 1}
    assert leakage.rows["val"] == {"image": 0, "text": 2, "all columns": 0}


def test_missing_modalities_are_not_equal() -> None:
    x = np.zeros((9, 2), np.float32)
    present = np.zeros(9, bool)
    assert find_leakage({"x": row_hashes(x, present)}, PARTS).rows["test"] == {"x": 0}


def test_the_summary_names_leaks_only() -> None:
    assert Leakage({"test": {"x": 0}}).summary == ""
    assert Leakage({"test": {"x": 1200}}).summary == (
        "1,200 test rows have the same x as a training row"
    )
    assert Leakage({"val": {"x": 1}}).summary == "1 val row has the same x as a training row"


def test_training_counts_and_warns(
    make_store: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(2, 200, 5))
    splits = np.array(["train"] * 120 + ["val"] * 40 + ["test"] * 40)
    image[160:167], text[160:165] = image[:7], text[:5]
    present = {"image": np.arange(200) != 166}
    store = make_store(
        features={"image": image, "text": text},
        metadata={
            "label": [0, 1] * 100,
            "split": splits.tolist(),
            "product": [f"p{number}" for number in range(200)],
            "image_size": [*range(200)],
            "id": [f"key-{number:06d}" for number in range(200)],  # the keys: no cure
        },
        present=present,
    )
    train([store, str(tmp_path / "model"), *QUICK])
    captured = capsys.readouterr()
    assert "warning: the splits leak: 6 test rows have the same image" in captured.err
    assert "5 test rows have the same text as a training row" in captured.err
    assert "5 test rows have the same image and text as a training row. " in captured.err
    assert "for image, text, --group-column with a column that identifies" in captured.err
    assert "there are: product, image_size\n" in captured.err
    train([store, str(tmp_path / "other model"), *QUICK])
    assert "the splits leak" not in capsys.readouterr().err
    metrics = json.loads((tmp_path / "model/metrics.json").read_text())
    assert metrics["leakage"] == {
        "val": {"image": 0, "text": 0, "all columns": 0},
        "test": {"image": 6, "text": 5, "all columns": 5},
    }


def test_the_warning_names_a_cure_for_each_column(
    make_store: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.random.default_rng(0).normal(size=(200, 5))
    image[190] = image[0]
    splits = ["train"] * 120 + ["val"] * 40 + ["test"] * 40
    digests = [f"{number:064x}" for number in range(200)]
    store = make_store(
        features={"image": image, "text": image},
        metadata={"label": [0, 1] * 100, "split": splits, "image_sha256": digests},
    )
    train([store, str(tmp_path / "model"), *QUICK])
    warning = capsys.readouterr().err
    assert "--group-column image_sha256 keeps equal image files; for text, --group-col" in warning


def test_no_warning_without_leakage(
    gap_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([gap_store, str(tmp_path / "model"), *QUICK])
    assert "leak" not in capsys.readouterr().err
