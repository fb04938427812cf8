import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.store.parquet.footer import MAX_LEVELS, open_parquet
from tests.mmfeat.store.parquet.bombs import deep_schema


def parquet_bytes(table, **options):
    output = io.BytesIO()
    pq.write_table(table, output, **options)
    return output.getvalue()


def test_a_long_footer_of_any_columns_is_read():
    """Its schema has lists, structs, maps and logical types, beside the schema of Arrow."""
    value = {"a": [{"b": "x"}], "when": None}
    kind = pa.struct(
        [("a", pa.list_(pa.struct([("b", pa.string())]))), ("when", pa.timestamp("us", "UTC"))]
    )
    columns = {f"column {number}": pa.array([value], kind) for number in range(300)}
    columns["map"] = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))
    columns["flags"] = pa.array([True])
    data = parquet_bytes(pa.table(columns))
    assert int.from_bytes(data[-8:-4], "little") > 100_000
    assert open_parquet(io.BytesIO(data)).read().to_pylist()[0]["column 7"] == value


@pytest.mark.parametrize("levels", [5000, 200_000])
def test_deep_schemas_are_refused(levels):
    with pytest.raises(pa.ArrowInvalid, match=f"{levels:,} levels, more than {MAX_LEVELS}"):
        open_parquet(io.BytesIO(deep_schema(levels)))


def test_damaged_footers_are_errors_of_arrow():
    data = bytearray(parquet_bytes(pa.table({f"c{number}": [1] for number in range(2000)})))
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for place in range(start, start + 600):
        changed = data.copy()
        changed[place] ^= 0x5F
        with suppress(pa.ArrowException, OSError, UnicodeDecodeError):
            assert open_parquet(io.BytesIO(bytes(changed))).schema_arrow is not None
