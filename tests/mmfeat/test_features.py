import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat import storage
from mmfeat.errors import MmfeatError
from mmfeat.features import OK, FeatureStore, Outcome, column_batch, column_schema, read_column


def write(path, batches, dim):
    with storage.create(path) as output, pa.ipc.new_file(output, column_schema(dim)) as writer:
        for batch in batches:
            writer.write_batch(batch)


@pytest.mark.parametrize("place", ["local", "memory"])
@settings(max_examples=25, deadline=None)
@given(present=st.lists(st.lists(st.booleans(), max_size=5), max_size=4), dim=st.integers(1, 5))
def test_features_come_back_in_their_rows(tmp_path_factory, place, present, dim):
    folder = str(tmp_path_factory.mktemp("column"))
    path = storage.join("memory://x" if place == "memory" else folder, "00000.arrow")
    rows = sum(map(len, present))
    values = np.arange(rows * dim, dtype=np.float16).reshape(rows, dim)
    flat = [good for block in present for good in block]
    values[[not good for good in flat]] = 0
    batches, start = [], 0
    for block in present:
        outcomes = [OK if good else Outcome("failed", "empty", "why") for good in block]
        batches.append(column_batch(values[start : start + len(block)], outcomes))
        start += len(block)
    write(path, batches, dim)
    shard = read_column(path)
    assert shard.features.shape == (rows, dim)
    assert shard.features.dtype == np.float16
    np.testing.assert_array_equal(shard.features, values)
    assert shard.present.tolist() == flat
    assert shard.reasons.to_pylist() == [None if good else "empty" for good in flat]


def test_other_tools_see_a_tensor_with_nulls(tmp_path):
    path = str(tmp_path / "00000.arrow")
    write(path, [column_batch(np.ones((2, 3)), [OK, Outcome("missing", "missing")])], 3)
    with pa.memory_map(path) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.schema.field("feature").type == pa.fixed_shape_tensor(pa.float16(), [3])
    assert table["feature"].to_pylist()[1] is None
    assert table["status"].to_pylist() == ["ok", "missing"]


def test_a_folder_without_features_is_one_clear_error(tmp_path):
    with pytest.raises(MmfeatError, match="Make them with: mmfeat extract"):
        FeatureStore(str(tmp_path))
