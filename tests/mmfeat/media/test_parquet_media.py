import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.media import parquet_media
from mmfeat.media.parquet_media import resolve_parquet_media
from mmfeat.records.media_ref import BytesRef, FileRef, ParquetCellRef, TextRef
from mmfeat.records.record import Record

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.fixture
def make_table(tmp_path):
    def write(rows=100, name="t.parquet"):
        columns = {
            "plain": pa.array([b"plain %d" % i for i in range(rows)], pa.binary()),
            "image": pa.array([{"bytes": b"image %d" % i} for i in range(rows)], STRUCT),
        }
        pq.write_table(pa.table(columns), tmp_path / name, row_group_size=7)
        return str(tmp_path / name)

    return write


@pytest.fixture
def decoded_rows(monkeypatch):
    """Record the index of each row that is decoded."""
    rows = []
    read_rows = parquet_media.read_rows

    def spy(*args):
        for row, values in read_rows(*args):
            rows.append(row)
            yield row, values

    monkeypatch.setattr(parquet_media, "read_rows", spy)
    return rows


def make_record(row, table, **columns):
    media = {slot: ParquetCellRef(table, row, column) for slot, column in columns.items()}
    return Record(row, str(row), {**media, "text": TextRef(f"t{row}")})


@pytest.mark.parametrize("shuffled", [False, True])
def test_each_record_gets_the_bytes_of_its_cells(make_table, shuffled):
    path, other = make_table(), make_table(30, "other.parquet")
    records = [make_record(i, path, audio="plain", image="image") for i in range(0, 100, 3)]
    records += [make_record(i, other, image="plain") for i in range(30)]
    if shuffled:
        random.Random(0).shuffle(records)
    resolved = list(resolve_parquet_media(records))
    assert [r.row for r in resolved] == [r.row for r in records]
    for before, after in zip(records, resolved, strict=True):
        assert after.media["text"] == before.media["text"]
        for slot in before.media.keys() - {"text"}:
            assert after.media[slot] == BytesRef(
                b"%s %d" % (before.media[slot].column.encode(), before.row)
            )


def test_records_in_table_order_are_streamed(make_table, decoded_rows, monkeypatch):
    monkeypatch.setattr(parquet_media.tempfile, "TemporaryFile", None)
    path = make_table()
    stream = resolve_parquet_media([make_record(i, path, image="plain") for i in range(100)])
    next(stream), next(stream)
    assert 0 < len(decoded_rows) < 10


def test_other_row_groups_are_not_decoded(make_table, decoded_rows):
    path = make_table()
    list(resolve_parquet_media([make_record(i, path, image="plain") for i in (50, 51)]))
    assert {50, 51} <= set(decoded_rows) <= set(range(49, 56))


def test_records_without_parquet_media_stay_unchanged():
    records = [Record(0, "a", {"image": FileRef("a.png")}), Record(1, "b")]
    assert list(resolve_parquet_media(records)) == records


@pytest.mark.parametrize("order", [1, -1])
def test_cell_without_bytes_becomes_its_file_or_nothing(tmp_path, order):
    table = str(tmp_path / "t.parquet")
    values = [{"bytes": b"x", "path": "a.png"}, {"path": "b.png"}, {"path": "../c.png"}, None, {}]
    pq.write_table(pa.table({"image": pa.array(values, STRUCT)}), table)
    paths = [("a.png", "/r/a.png"), ("b.png", "/r/b.png"), ("../c.png", ""), ("", ""), ("", "")]
    records = [
        Record(row, str(row), {"image": ParquetCellRef(table, row, "image", name, path)})
        for row, (name, path) in enumerate(paths)
    ]
    resolved = sorted(resolve_parquet_media(records[::order]), key=lambda r: r.row)
    assert [r.media.get("image") for r in resolved] == [
        BytesRef(b"x", "a.png"), FileRef("/r/b.png"), None, None, None,
    ]  # fmt: skip
    assert [list(r.problems) for r in resolved] == [[], [], ["image"], [], []]
    assert resolved[2].problems["image"][0] == "outside"


def test_empty_bytes_are_media_and_null_is_not(tmp_path):
    table = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"image": pa.array([b"", None], pa.binary())}), table)
    records = [make_record(row, table, image="image") for row in range(2)]
    empty, null = resolve_parquet_media(records)
    assert empty.media["image"] == BytesRef(b"")
    assert "image" not in null.media


def test_a_row_that_the_table_lacks_names_the_table(make_table):
    path = make_table(rows=3)
    record = Record(0, "k", {"image": ParquetCellRef(path, 5, "plain", "", "")})
    with pytest.raises(DamagedFileError, match=r"t\.parquet must be a Parquet file with the row 5"):
        list(resolve_parquet_media([record]))
