import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.media import parquet_media
from mmfeat.media.parquet_media import with_contents
from mmfeat.records.media_ref import BytesRef, FileRef, ParquetCellRef, TextRef
from mmfeat.records.record import Record

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.fixture
def table(tmp_path):
    def write(number=100, name="t.parquet", group=7):
        columns = {
            "plain": pa.array([b"plain %d" % i for i in range(number)], pa.binary()),
            "image": pa.array([{"bytes": b"image %d" % i} for i in range(number)], STRUCT),
        }
        pq.write_table(pa.table(columns), tmp_path / name, row_group_size=group)
        return str(tmp_path / name)

    return write


def record(row, table, **columns):
    parts = {slot: ParquetCellRef(table, row, column) for slot, column in columns.items()}
    return Record(row, str(row), {**parts, "text": TextRef(f"t{row}")})


@pytest.mark.parametrize("shuffled", [False, True])
def test_each_record_gets_the_bytes_of_its_own_cells(table, shuffled):
    path, other = table(), table(30, "other.parquet")
    records = [record(i, path, audio="plain", image="image") for i in range(0, 100, 3)]
    records += [record(i, other, image="plain") for i in range(30)]
    if shuffled:
        random.Random(0).shuffle(records)
    found = list(with_contents(records))
    assert [r.row for r in found] == [r.row for r in records]
    for before, after in zip(records, found, strict=True):
        assert after.media["text"] == before.media["text"]
        for slot in before.media.keys() - {"text"}:
            assert after.media[slot] == BytesRef(
                b"%s %d" % (before.media[slot].column.encode(), before.row)
            )


def test_records_in_the_order_of_their_table_are_streamed(table, monkeypatch):
    monkeypatch.setattr(parquet_media.tempfile, "TemporaryFile", None)
    path = table()
    decoded = []
    rows = parquet_media._rows
    monkeypatch.setattr(
        parquet_media, "_rows", lambda *a: (decoded.append(at) or (at, row) for at, row in rows(*a))
    )
    stream = with_contents([record(i, path, image="plain") for i in range(100)])
    next(stream), next(stream)
    assert len(decoded) < 10


def test_row_groups_without_a_wanted_row_are_not_decoded(table, monkeypatch):
    path = table()
    seen = []
    rows = parquet_media._rows
    monkeypatch.setattr(
        parquet_media, "_rows", lambda *a: (seen.append(at) or (at, row) for at, row in rows(*a))
    )
    list(with_contents([record(i, path, image="plain") for i in (50, 51)]))
    assert set(seen) <= set(range(49, 56))


def test_records_without_cells_pass_as_they_are():
    records = [Record(0, "a", {"image": FileRef("a.png")}), Record(1, "b")]
    assert list(with_contents(records)) == records


@pytest.mark.parametrize("order", [1, -1])
def test_a_cell_without_bytes_is_the_file_it_names_or_nothing(tmp_path, order):
    path = str(tmp_path / "t.parquet")
    values = [{"bytes": b"x", "path": "a.png"}, {"path": "b.png"}, {"path": "../c.png"}, None, {}]
    pq.write_table(pa.table({"image": pa.array(values, STRUCT)}), path)
    places = [("a.png", "/r/a.png"), ("b.png", "/r/b.png"), ("../c.png", ""), ("", ""), ("", "")]
    records = [
        Record(row, str(row), {"image": ParquetCellRef(path, row, "image", name, there)})
        for row, (name, there) in enumerate(places)
    ]
    found = sorted(with_contents(records[::order]), key=lambda r: r.row)
    assert [r.media.get("image") for r in found] == [
        BytesRef(b"x", "a.png"), FileRef("/r/b.png"), None, None, None,
    ]  # fmt: skip
    assert [list(r.problems) for r in found] == [[], [], ["image"], [], []]
    assert found[2].problems["image"][0] == "outside"


def test_a_cell_of_no_bytes_at_all_is_content_all_the_same(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"image": pa.array([b"", None], pa.binary())}), path)
    empty, null = with_contents([record(0, path, image="image"), record(1, path, image="image")])
    assert empty.media["image"] == BytesRef(b"")
    assert "image" not in null.media
