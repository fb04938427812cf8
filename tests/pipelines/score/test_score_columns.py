"""Predictions with columns of the samples table."""

import pyarrow.dataset as ds
import pytest

from tests.pipelines.score.conftest import ROWS


@pytest.fixture
def score(scored, mmfeat, tmp_path):
    """Runs `mmfeat score` with more flags, into a folder of the test."""

    def run(*flags):
        return mmfeat("score", scored / "model", scored / "features", tmp_path / "out", *flags)

    return run


def read(folder):
    return ds.dataset(folder / "data").to_table()


@pytest.mark.parametrize(
    "flags",
    [
        ("--columns", "label,size in cm,sku"),
        ("--columns", "label", "--columns", "size in cm, sku"),
        ("--set", "columns=[label, size in cm, sku]"),
        ("--columns", "label,__key__,label,size in cm,sku"),
    ],
)
def test_columns_follow_the_predictions(scored, score, tmp_path, flags):
    result = score(*flags)
    assert result.returncode == 0, result.stderr
    plain, table = read(scored / "predictions"), read(tmp_path / "out")
    assert table.column_names == [*plain.column_names, "label", "size in cm", "sku"]
    assert table.select(plain.column_names).equals(plain)
    given = {row["sku"]: (row["label"], str(row["size in cm"]), row["sku"]) for row in ROWS}
    for row in table.to_pylist():
        assert (row["label"], row["size in cm"], row["sku"]) == given[row["__key__"]]


def test_a_name_that_predictions_have_gets_a_prefix(score, tmp_path):
    assert score("--columns", "status,prediction").returncode == 0
    rows = read(tmp_path / "out").to_pylist()
    given = {row["sku"]: row["prediction"] for row in ROWS}
    assert {row["__key__"]: row["meta_prediction"] for row in rows} == given
    assert {row["prediction"] for row in rows} <= {"red", "blue", None}
    statuses = {row["__key__"]: row["meta_status"] for row in rows}
    assert {key for key, status in statuses.items() if status == "failed"} == {"K-7", "K-20"}


def test_the_summary_counts_no_partial_records(score):
    """A record with one of two modalities is scored; receipts do not count it."""
    assert "partial" not in score("--columns", "label").stdout


def test_an_unknown_column_is_refused_with_the_names_that_exist(score, tmp_path):
    result = score("--columns", "label,skus")
    assert result.returncode == 1
    assert "has no column of that name (--columns); got 'skus'" in result.stderr
    assert "label, sku, size in cm" in result.stderr
    assert "Did you mean 'sku'?" in result.stderr
    assert not (tmp_path / "out").exists()


def test_other_columns_are_another_configuration(score):
    assert score("--columns", "label").returncode == 0
    assert "nothing to do" in score("--columns", "label").stdout
    refused = score("--columns", "sku")
    assert refused.returncode == 1
    assert "--columns was ['label'], is ['sku'] now" in refused.stderr


def test_most_likely_classes_as_lists(scored, score, tmp_path):
    result = score("--top-k", "1")
    assert result.returncode == 0, result.stderr
    before, table = read(scored / "predictions"), read(tmp_path / "out")
    assert table.column_names[4:7] == ["probability", "top_classes", "top_probabilities"]
    for prediction, classes in zip(
        before["prediction"].to_pylist(), table["top_classes"].to_pylist(), strict=True
    ):
        assert classes == (None if prediction is None else [prediction])
    assert "--top-k was 1, is 2 now" in score("--top-k", "2").stderr
    assert "--top-k must not be negative" in score("--top-k", "-1").stderr
