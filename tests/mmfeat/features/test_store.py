import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.features.column_format import (
    OK,
    FeatureShape,
    RowStatus,
    column_schema,
    make_column_batch,
)
from mmfeat.features.column_reader import read_column_file
from mmfeat.features.store import FeatureStore
from mmfeat.storage import files


def write_column(path, batches, shape):
    """Write a column file and return what its receipt records."""
    with files.create(path) as output, pa.ipc.new_file(output, column_schema(shape)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return output.info()


@pytest.mark.parametrize("location", ["local", "memory"])
@settings(max_examples=25, deadline=None)
@given(
    present=st.lists(st.lists(st.booleans(), max_size=5), max_size=4),
    dim=st.integers(1, 5),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_vectors_round_trip(tmp_path_factory, location, present, dim, dtype):
    folder = str(tmp_path_factory.mktemp("column"))
    path = files.join("memory://x" if location == "memory" else folder, "00000.arrow")
    shape = FeatureShape(dim, dtype)
    rows = sum(map(len, present))
    values = np.arange(rows * dim, dtype=dtype).reshape(rows, dim)
    flat_present = [is_present for block in present for is_present in block]
    values[[not is_present for is_present in flat_present]] = 0
    batches, start = [], 0
    for block in present:
        statuses = [OK if ok else RowStatus("failed", "empty", "why") for ok in block]
        vectors = values[start : start + len(block)]
        features = [vector if ok else None for vector, ok in zip(vectors, block, strict=True)]
        batches.append(make_column_batch(features, statuses, shape))
        start += len(block)
    info = write_column(path, batches, shape)
    shard = read_column_file(path, info, shape)
    assert shard.features.shape == (rows, dim)
    assert shard.features.dtype == dtype
    np.testing.assert_array_equal(shard.features, values)
    assert shard.present.tolist() == flat_present
    assert shard.reasons.to_pylist() == [None if ok else "empty" for ok in flat_present]


def test_pyarrow_reads_tensors_with_nulls(tmp_path):
    path = str(tmp_path / "00000.arrow")
    statuses = [OK, RowStatus("missing", "missing")]
    batch = make_column_batch([np.ones(3), None], statuses, FeatureShape(3))
    write_column(path, [batch], FeatureShape(3))
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
def test_tokens_round_trip(tmp_path_factory, counts, dtype):
    path = str(tmp_path_factory.mktemp("column") / "00000.arrow")
    shape = FeatureShape(3, dtype, max_tokens=4)
    flat_counts = [count for block in counts for count in block]
    tokens = [None if c is None else np.full((c, 3), n, dtype) for n, c in enumerate(flat_counts)]
    batches, start = [], 0
    for block in counts:
        statuses = [RowStatus("failed", "empty") if count is None else OK for count in block]
        batches.append(make_column_batch(tokens[start : start + len(block)], statuses, shape))
        start += len(block)
    info = write_column(path, batches, shape)
    shard = read_column_file(path, info, shape)
    assert shard.present.tolist() == [count is not None for count in flat_counts]
    assert shard.features.shape == (sum(count or 0 for count in flat_counts), 3)
    for row, expected in enumerate(tokens):
        actual = shard.features[shard.offsets[row] : shard.offsets[row + 1]]
        np.testing.assert_array_equal(actual, np.empty((0, 3)) if expected is None else expected)


def test_folder_without_features_is_refused(tmp_path):
    with pytest.raises(MmfeatError, match="Make them with: mmfeat extract"):
        FeatureStore(str(tmp_path))
