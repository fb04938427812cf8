import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records import FileRef, ParquetCellRef, TextRef
from mmfeat.sources import UnreadBytes, open_table, read_rows
from mmfeat.sources.tables.formats import OversizedRow, parquet_batches
from tests.mmfeat.sources.tables.table_inputs import source_of

PIXELS = b"\x89PNG\r\n\x1a\n\x00\x00"
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.fixture
def write(tmp_path):
    def write_table(columns, **options):
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table(columns), path, **options)
        return path

    return write_table


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(6)])
@pytest.mark.parametrize("packed", [False, True])
def test_text_stored_as_bytes_is_text(write, kind, packed):
    names = ["file_name", "text", "label", "id"]
    columns = {name: pa.array([b"a/ \xc3\xa9x", None, b"b.png "], kind) for name in names}
    if packed:
        columns = {name: column.dictionary_encode() for name, column in columns.items()}
    path = write(columns)
    source = source_of(path, key="id")
    first, second, third = source.records()
    assert first.media == {"image": FileRef(str(path.parent / "a/ éx")), "text": TextRef("a/ éx")}
    assert first.metadata == {"file_name": "a/ éx", "label": "a/ éx", "id": "a/ éx"}
    assert (first.key, second.key, third.key) == ("a_ éx", "", "b_png")
    assert (second.media, second.metadata) == ({}, {"label": None, "id": None})
    assert len(source.notes()) == 1


def test_a_text_or_key_column_is_text_even_if_it_begins_with_other_bytes(write):
    values = pa.array([b"caf\xe9", b"ok"], pa.binary())
    source = source_of(write({"text": values, "id": values, "raw": values}), key="id")
    first, second = source.records()
    assert first.problems["text"][0] == "undecodable"
    assert first.problems["json"] == ("undecodable", "not UTF-8: 'id'")
    assert (second.key, second.media, second.metadata) == (
        "ok",
        {"text": TextRef("ok")},
        {"id": "ok"},
    )
    assert "ignored columns of bytes: raw" in source.notes()


def test_bytes_after_many_nulls_are_recognized(write):
    nulls = [None] * 500
    path = write(
        {
            "image": pa.array([*nulls, PIXELS], pa.binary()),
            "label": pa.array([*nulls, b"cat"], pa.binary()),
            "empty": pa.array([None, b""] + [None] * 499, pa.binary()),
        }
    )
    last = list(source_of(path).records())[-1]
    assert last.media == {"image": ParquetCellRef(str(path), 500, "image")}
    assert last.metadata == {"label": "cat"}


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(STRUCT),
        pa.large_list(pa.binary()),
        pa.list_(pa.binary(), 1),
        pa.struct({"front": STRUCT, "n": pa.int64()}),
        pa.struct({"bytes": pa.binary(), "name": pa.string()}),
        pa.list_(pa.struct({"in": pa.list_(pa.large_binary())})),
        pa.map_(pa.string(), pa.binary()),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["images", "image"])
def test_bytes_inside_lists_and_structs_are_left_out(write, kind, name):
    path = write({name: pa.nulls(2, kind), "text": ["a", "b"], "tags": [["x"], []]})
    table = open_table(str(path))
    assert (table.nested_bytes, table.bytes_columns) == ({name}, frozenset())
    source = source_of(path)
    assert source.slots == ("text",)
    assert f"ignored columns of bytes: {name}" in source.notes()
    assert [record.metadata for record in source.records()] == [{"tags": ["x"]}, {"tags": []}]
    with pytest.raises(
        MmfeatError, match=f"one value per row; .*got '{name}'.*Give each file a col"
    ):
        source_of(path, image=name)


def test_the_path_of_a_struct_need_not_be_utf8(write):
    paths = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xe9.png"]).buffers())
    struct = pa.StructArray.from_arrays([pa.array([PIXELS]), paths], ["bytes", "path"])
    table = open_table(str(write({"image": struct})))
    assert list(read_rows(table)) == [{"image": UnreadBytes("\udce9.png")}]


@pytest.mark.parametrize(
    ("kind", "paths", "path"),
    [(pa.binary(), [b"a.png"], "a.png"), (pa.int64(), [7], None), (pa.string(), [None], None)],
)
def test_the_path_of_a_struct_may_be_stored_as_bytes(write, kind, paths, path):
    struct = pa.StructArray.from_arrays(
        [pa.array([PIXELS]), pa.array(paths, kind)], ["bytes", "path"]
    )
    file = str(write({"image": struct}))
    assert list(read_rows(open_table(file))) == [{"image": UnreadBytes(path)}]
    assert [record.media["image"].name for record in source_of(file).records()] == [path or ""]


def test_a_value_that_python_cannot_hold_affects_its_record_only(write):
    texts = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"x"]).buffers())
    days = pa.array([-(10**6), 0], pa.int32()).cast(pa.date32())
    times = pa.array([2**62, 0]).cast(pa.timestamp("us"))
    path = write({"text": ["a", "b"], "place": texts, "title": texts, "day": days, "time": times})
    first, second = source_of(path).records()
    assert first.problems == {"json": ("undecodable", "not UTF-8: 'place', 'title'")}
    assert first.metadata == {
        "place": None, "title": None, "day": "-0768-02-04",
        "time": f"<value out of range: {2**62}>",
    }  # fmt: skip
    assert (second.problems, second.metadata["day"]) == ({}, "1970-01-01")
    assert source_of(path, text="title").slots == ("text",)
    first, _ = source_of(path, text="title").records()
    assert first.problems["text"] == ("undecodable", "column 'title' is not UTF-8")


def test_nan_is_no_value(write):
    nan = math.nan
    path = write({"image": [nan, nan], "text": ["a", None], "id": [3.0, nan], "x": [nan, 1.5]})
    first, second = source_of(path, key="id").records()
    assert (first.key, second.key) == ("3", "")
    assert (first.media, second.media) == ({"text": TextRef("a")}, {})
    assert (first.problems, second.problems) == ({}, {})
    assert (first.metadata, second.metadata) == ({"id": 3.0, "x": None}, {"id": None, "x": 1.5})


def test_a_value_that_is_too_large_is_one_row(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_batches, "MAX_RECORD_CHARACTERS", 1000)
    table = {"text": ["a", "b", "c", "d"], "x": [[0], [0] * 500, [2], None]}
    table["text"][2] *= 1001
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table(table), path)
    first, second, third, fourth = read_rows(open_table(path))
    assert (first, fourth) == ({"text": "a", "x": [0]}, {"text": "d", "x": None})
    assert isinstance(second, OversizedRow)
    assert second.startswith("row 1: more than ")
    assert "in column 'x'" in second
    assert "in column 'text'" in third


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_a_batch_of_one_repeated_text_is_small(tmp_path, monkeypatch, compression):
    monkeypatch.setattr(parquet_batches, "_BATCH_BYTES", 100_000)
    text = pa.DictionaryArray.from_arrays([0] * 1000, ["a" * 10_000])
    path = str(tmp_path / "t.parquet")
    pq.write_table(
        pa.table({"text": text, "n": range(1000)}), path, compression=compression,
        store_schema=False, row_group_size=600,
    )  # fmt: skip
    with open(path, "rb") as file, pq.ParquetFile(file) as table:
        batches = list(parquet_batches.iterate_batches(file, table, ["text", "n"]))
    assert sum(map(len, batches)) == 1000
    assert all(batch.nbytes < 120_000 for batch in batches)
    assert [row["n"] for row in read_rows(open_table(path))] == [*range(1000)]
