"""Training uses the newest row of a record that was tried again."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.features import FeatureStore
from mmfeat.store import RETRY_SHARD
from tests.training.stores import Records, write_receipts, write_store
from training.data.dataset import load_dataset
from training.data.split_rule import SplitRule
from training.objectives.registry import OBJECTIVES

COUNT, RETRIED = 200, 12


def write_retried_store(folder: Path) -> str:
    """Write a store whose last shard has newer rows of the first records of the first shard.

    The earlier rows have another label, and a vector in each column.
    """
    rng = np.random.default_rng(0)
    features = {name: rng.normal(size=(COUNT + RETRIED, 4)) for name in ("image", "text")}
    labels = [*["old"] * RETRIED, *["a", "b"] * ((COUNT - RETRIED) // 2), *["a"] * RETRIED]
    path = write_store(str(folder), Records(features, {"label": labels}), shards=2)
    first, last = (folder / "samples" / f"0000{number}.parquet" for number in (0, 1))
    rows, newest = pq.read_table(first), pq.read_table(last)
    keys = rows["__key__"].to_pylist()
    status = pa.array(["partial"] * RETRIED + ["ok"] * (len(rows) - RETRIED))
    pq.write_table(rows.set_column(1, "status", status), first)
    newest_keys = newest["__key__"].to_pylist()[:-RETRIED] + keys[:RETRIED]
    pq.write_table(newest.set_column(0, "__key__", pa.array(newest_keys)), last)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][1][RETRY_SHARD] = True
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_receipts(path)
    return path


@pytest.mark.parametrize("stratify", [False, True])
def test_earlier_rows_are_in_no_split(tmp_path: Path, stratify: bool) -> None:
    store = FeatureStore(write_retried_store(tmp_path))
    objective = OBJECTIVES["multiclass"]("label")
    columns = [*store.columns.values()]
    dataset = load_dataset(store, columns, objective, SplitRule(), stratify=stratify)
    rows = np.concatenate([*dataset.split_rows.values()])
    assert sorted(rows) == list(range(RETRIED, COUNT + RETRIED))
    assert dataset.left_out == {}
    assert dataset.objective.classes == ["a", "b"]
    assert {*dataset.rule.cuts} == ({"a", "b"} if stratify else set())
