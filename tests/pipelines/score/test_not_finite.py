"""A feature that is not a number costs the prediction of its row only."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmfeat.cli import main
from tests.training.stores import write_store, xor_records

TRAIN = ("--target", "label", "--fusion", "gmu", "--epochs", "1", "--hidden", "8", "--lr", "0.003")


def read_rows(folder):
    return pq.read_table(folder / "data").sort_by("__key__")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_with_a_feature_that_is_not_finite_has_no_prediction(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    records = xor_records(300)
    write_store("features", records)
    assert main.main(["train", "features", "model", *TRAIN]) == 0
    assert main.main(["score", "model", "features", "whole"]) == 0
    records.features["image"][7, 2] = value
    write_store("broken", records)
    assert main.main(["score", "model", "broken", "scores"]) == 0
    whole, scores = read_rows(tmp_path / "whole"), read_rows(tmp_path / "scores")
    reasons = scores["reason"].to_pylist()
    (row,) = [number for number, reason in enumerate(reasons) if reason]
    assert reasons[row] == "not_finite"
    assert scores["prediction"][row].as_py() is None
    others = [number for number in range(len(scores)) if number != row]
    assert scores.take(others).equals(whole.take(others))
