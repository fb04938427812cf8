import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.features.store import (
    OK,
    FeatureStore,
    Outcome,
    Shape,
    column_batch,
    column_schema,
    read_column,
)
from mmfeat.store import files


def write(path, batches, shape):
    with files.create(path) as output, pa.ipc.new_file(output, column_schema(shape)) as writer:
        for batch in batches:
            writer.write_batch(batch)


@pytest.mark.parametrize("place", ["local", "memory"])
@settings(max_examples=25, deadline=None)
@given(
    present=st.lists(st.lists(st.booleans(), max_size=5), max_size=4),
    dim=st.integers(1, 5),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_features_come_back_in_their_rows(tmp_path_factory, place, present, dim, dtype):
    folder = str(tmp_path_factory.mktemp("column"))
    path = files.join("memory://x" if place == "memory" else folder, "00000.arrow")
    rows = sum(map(len, present))
    values = np.arange(rows * dim, dtype=dtype).reshape(rows, dim)
    flat = [good for block in present for good in block]
    values[[not good for good in flat]] = 0
    batches, start = [], 0
    for block in present:
        outcomes = [OK if good else Outcome("failed", "empty", "why") for good in block]
        vectors = values[start : start + len(block)]
        present_ones = [v if good else None for v, good in zip(vectors, block, strict=True)]
        batches.append(column_batch(present_ones, outcomes, Shape(dim, dtype)))
        start += len(block)
    write(path, batches, Shape(dim, dtype))
    shard = read_column(path)
    assert shard.features.shape == (rows, dim)
    assert shard.features.dtype == dtype
    np.testing.assert_array_equal(shard.features, values)
    assert shard.present.tolist() == flat
    assert shard.reasons.to_pylist() == [None if good else "empty" for good in flat]


def test_other_tools_see_a_tensor_with_nulls(tmp_path):
    path = str(tmp_path / "00000.arrow")
    outcomes = [OK, Outcome("missing", "missing")]
    write(path, [column_batch([np.ones(3), None], outcomes, Shape(3))], Shape(3))
    with pa.memory_map(path) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.schema.field("feature").type == pa.fixed_shape_tensor(pa.float16(), [3])
    assert table["feature"].to_pylist()[1] is None
    assert table["status"].to_pylist() == ["ok", "missing"]


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=5), max_size=4),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_tokens_come_back_with_the_record_they_belong_to(tmp_path_factory, counts, dtype):
    path = str(tmp_path_factory.mktemp("column") / "00000.arrow")
    shape = Shape(3, dtype, max_tokens=4)
    flat = [count for block in counts for count in block]
    tokens = [None if c is None else np.full((c, 3), n, dtype) for n, c in enumerate(flat)]
    batches, start = [], 0
    for block in counts:
        outcomes = [Outcome("failed", "empty") if count is None else OK for count in block]
        batches.append(column_batch(tokens[start : start + len(block)], outcomes, shape))
        start += len(block)
    write(path, batches, shape)
    shard = read_column(path)
    assert shard.present.tolist() == [count is not None for count in flat]
    assert shard.features.shape == (sum(c or 0 for c in flat), 3)
    for number, expected in enumerate(tokens):
        found = shard.features[shard.offsets[number] : shard.offsets[number + 1]]
        np.testing.assert_array_equal(found, np.empty((0, 3)) if expected is None else expected)


def test_a_folder_without_features_is_one_clear_error(tmp_path):
    with pytest.raises(MmfeatError, match="Make them with: mmfeat extract"):
        FeatureStore(str(tmp_path))
