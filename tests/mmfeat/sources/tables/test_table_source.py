import base64
import gzip
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.records.media_ref import Base64Ref, FileRef, ParquetCellRef, TextRef
from tests.mmfeat.samples import audio_bytes
from tests.mmfeat.sources.tables.table_inputs import (
    ROWS,
    source_of,
    write_csv,
    write_json_lines,
)

PIXELS = b"\x89PNG\r\n" * 9
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


WAVE = np.linspace(-0.1, 0.1, 800)


@pytest.mark.parametrize("pattern", ["p*.*", "p{1,2}.*", "p{1.csv,2.jsonl}"])
def test_many_files_are_one_table(tmp_path, pattern):
    write_csv(tmp_path / "p1.csv", [{"file_name": "a.png", "n": "1"}] * 3)
    write_json_lines(tmp_path / "p2.jsonl", [{"text": "b", "m": 2}] * 2)
    source = source_of(tmp_path / pattern)
    records = list(source.records())
    assert source.slots == ("image", "text")
    assert [record.row for record in records] == list(range(5))
    assert [list(record.media) for record in records] == [["image"]] * 3 + [["text"]] * 2
    assert {name for record in records for name in record.metadata} == {"file_name", "n", "m"}


def test_files_are_read_in_the_order_of_braces(tmp_path):
    for name in "ab":
        write_csv(tmp_path / f"{name}.csv", [{"text": name}])
    texts = [record.media["text"].value for record in source_of(tmp_path / "{b,a}.csv").records()]
    assert texts == ["b", "a"]


def test_urls_stay_unchanged(tmp_path):
    write_csv(tmp_path / "t.csv", [{"url": "http://x/a%20b/c.jpg?w=1.5", "caption": "x"}])
    (record,) = source_of(tmp_path / "t.csv").records()
    assert record.media["image"] == FileRef("http://x/a%20b/c.jpg?w=1.5")
    assert record.key == "c"


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n", "\u00a0"])
def test_spaces_around_a_url_do_not_belong_to_it(tmp_path, picture, space):
    content = base64.b64encode(picture()).decode()
    urls = ["http://x/c.jpg", "https://b/d.png", f"data:image/png;base64,{content}", content]
    write_json_lines(tmp_path / "t.jsonl", [{"image": f"{space}{url}{space}"} for url in urls])
    refs = [record.media["image"] for record in source_of(tmp_path / "t.jsonl").records()]
    assert refs == [*map(FileRef, urls[:2]), Base64Ref(content), Base64Ref(content)]
    write_json_lines(tmp_path / "t.jsonl", [{"url": f"{space}http://x/y.mp3{space}"}])
    assert source_of(tmp_path / "t.jsonl").slots == ("audio",)


def test_spaces_around_a_local_path_belong_to_it(tmp_path):
    write_json_lines(tmp_path / "t.jsonl", [{"image": " a.png "}])
    (record,) = source_of(tmp_path / "t.jsonl").records()
    assert record.media["image"] == FileRef(f"{tmp_path}/ a.png ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "WAV"])
def test_base64_is_detected_by_its_first_characters(tmp_path, picture, kind):
    content = audio_bytes(WAVE) if kind == "WAV" else picture(kind=kind)
    plain, lines = base64.b64encode(content).decode(), base64.encodebytes(content).decode()
    rows = [{"image": value, "text": "x"} for value in (plain, lines, f"data:x/y;base64,{plain}")]
    write_csv(tmp_path / "t.csv", rows)
    records = list(source_of(tmp_path / "t.csv").records())
    assert {type(record.media["image"]) for record in records} == {Base64Ref}
    assert {"".join(r.media["image"].value.split()) for r in records} == {plain}
    assert all(record.metadata == {} and record.key == "" for record in records)


def test_base64_of_a_later_file_is_no_metadata(tmp_path, picture):
    content = base64.b64encode(picture()).decode()
    (tmp_path / "0.csv").write_text("text,thumbnail\n")
    write_csv(tmp_path / "1.csv", [{"text": "x"}] * 1001)
    write_csv(tmp_path / "2.csv", [{"text": "y", "thumbnail": content}])
    source = source_of(tmp_path / "{0,1,2}.csv")
    assert "ignored columns of bytes: thumbnail" in source.notes()
    assert not any(record.metadata for record in source.records())


def test_a_data_url_without_base64_is_undecodable(tmp_path):
    write_csv(tmp_path / "t.csv", [{"image": "data:image/svg+xml,<svg/>"}])
    (record,) = source_of(tmp_path / "t.csv").records()
    assert record.problems["image"][0] == "undecodable"
    assert record.metadata == {}


@pytest.mark.parametrize("path", ["../a.png", "x/../../a.png", "..", "./../a.png"])
def test_relative_paths_must_stay_in_the_folder_of_the_table(tmp_path, path):
    write_csv(tmp_path / "t.csv", [{"image": path}, {"image": "x/../a..b.png"}])
    outside, inside = source_of(tmp_path / "t.csv").records()
    assert (outside.media, outside.problems["image"][0]) == ({}, "outside")
    assert inside.media["image"] == FileRef(str(tmp_path / "a..b.png"))
    permitted, _ = source_of(tmp_path / "t.csv", outside=True).records()
    assert permitted.media["image"].path.startswith(f"{tmp_path}/..")


def test_absolute_paths_are_files_and_urls_of_files_must_stay_in_the_folder(tmp_path):
    paths = ["/elsewhere/a.png", f"file://{tmp_path}/b.png", "file:///elsewhere/c.png"]
    write_csv(tmp_path / "t.csv", [{"image": path} for path in paths])
    *inside, outside = source_of(tmp_path / "t.csv").records()
    paths[1] = f"{tmp_path}/b.png"
    assert [record.media["image"] for record in inside] == [*map(FileRef, paths[:2])]
    assert (outside.media, outside.problems["image"][0]) == ({}, "outside")
    *_, permitted = source_of(tmp_path / "t.csv", outside=True).records()
    assert permitted.media["image"] == FileRef("/elsewhere/c.png")


def test_a_note_shows_how_many_of_the_first_rows_name_files_outside(tmp_path):
    rows = [{"image": "a.png"}, {"image": "../c.png"}, {"image": "s3://b/c.png"}]
    write_csv(tmp_path / "t.csv", rows)
    assert source_of(tmp_path / "t.csv").notes()[-1] == (
        "2 of the first 3 rows name a file outside: "
        f"../c.png leaves {tmp_path}; --allow-outside permits it"
    )
    write_csv(tmp_path / "t.csv", rows[:1])
    assert "outside" not in source_of(tmp_path / "t.csv").notes()[-1]


def bytes_table(path, count=3):
    columns = {
        "image": pa.array([{"bytes": PIXELS, "path": f"f/{i}.png"} for i in range(count)], STRUCT),
        "audio": pa.array([PIXELS] * count, pa.large_binary()),
        "raw": pa.array([PIXELS] * count, pa.binary()),
        "packed": pa.array([PIXELS] * count).dictionary_encode(),
        "label": pa.array(range(count)),
        "caption": pa.array(["x"] * count),
    }
    pq.write_table(pa.table(columns), path, row_group_size=2)


def test_media_in_parquet_become_cell_references(tmp_path):
    path = tmp_path / "t.parquet"
    bytes_table(path)
    source = source_of(path)
    last = list(source.records())[-1]
    assert source.in_order
    assert last.media == {
        "image": ParquetCellRef(str(path), 2, "image", "f/2.png", str(tmp_path / "f/2.png")),
        "audio": ParquetCellRef(str(path), 2, "audio"),
        "text": TextRef("x"),
    }
    assert last.key == "2"
    assert last.metadata == {"image": "f/2.png", "label": 2}
    assert "ignored columns of bytes: packed, raw" in source.notes()[1]


def test_planning_does_not_read_media_in_parquet(tmp_path, monkeypatch):
    bytes_table(tmp_path / "t.parquet", 100)
    read = pq.ParquetFile.iter_batches
    rows = Counter()

    def spy(self, *arguments, columns=None, **options):
        for batch in read(self, *arguments, columns=columns, **options):
            rows.update(dict.fromkeys(columns, batch.num_rows))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    list(source_of(tmp_path / "t.parquet").records())
    media = {name for name, number in rows.items() if number <= 4}
    assert media == {"audio", "raw", "packed"}, "only their first rows show whether they are text"
    assert rows.keys() - media == {"image.path", "label", "caption"}


def test_a_table_with_bytes_only_has_a_record_per_row(tmp_path):
    pq.write_table(pa.table({"image": [PIXELS, None]}), tmp_path / "t.parquet")
    first, second = source_of(tmp_path / "t.parquet").records()
    assert (first.row, second.row, first.key) == (0, 1, "")
    assert second.media == {"image": ParquetCellRef(str(tmp_path / "t.parquet"), 1, "image")}


def test_the_path_of_a_struct_must_stay_in_the_folder(tmp_path):
    values = pa.array([{"bytes": None, "path": "../../etc/passwd"}, None], STRUCT)
    pq.write_table(pa.table({"image": values}), tmp_path / "t.parquet")
    first, second = source_of(tmp_path / "t.parquet").records()
    assert (first.media["image"].path, second.media["image"].path) == ("", "")
    first, _ = source_of(tmp_path / "t.parquet", outside=True).records()
    assert first.media["image"].path.endswith("/../../etc/passwd")


def test_a_struct_of_bytes_and_path_in_json(tmp_path):
    rows = [{"image": {"bytes": "AAAA", "path": "a.png"}}, {"image": {"path": "../a.png"}},
            {"image": {"path": None}}]  # fmt: skip
    write_json_lines(tmp_path / "t.jsonl", rows)
    first, second, third = source_of(tmp_path / "t.jsonl").records()
    assert first.media == {"image": Base64Ref("AAAA", "a.png")}
    assert second.problems["image"][0] == "outside"
    assert (third.media, third.problems) == ({}, {})


def test_a_text_that_is_not_utf8_affects_its_record_only(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"file_name,text,n\na.png,caf\xe9,1\nb\xe9.png,ok,\xe9\n")
    first, second = source_of(tmp_path / "t.csv").records()
    assert first.problems["text"][0] == "undecodable"
    assert first.media["image"].path == str(tmp_path / "a.png")
    assert second.problems == {"json": ("undecodable", "not UTF-8: 'n'")}
    assert second.media["image"].path == str(tmp_path / "b\udce9.png")
    assert second.key == "b_"
    assert second.metadata == {"file_name": "b\\udce9.png", "n": None}


def test_column_names_that_are_not_utf8_are_escaped(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"text,pr\xe9nom\na,b\n")
    source = source_of(tmp_path / "t.csv")
    assert next(source.records()).metadata == {"pr\\udce9nom": "b"}


def test_a_cell_of_another_type_is_a_problem(tmp_path):
    write_json_lines(tmp_path / "t.jsonl", [{"text": "a", "image": "x.png"}, {"text": 5}])
    _, second = source_of(tmp_path / "t.jsonl").records()
    assert second.problems["text"] == ("undecodable", "column 'text' holds int, not a string")


def test_the_digest_depends_on_the_content_only(tmp_path):
    write_csv(tmp_path / "a.csv", ROWS)
    write_csv(tmp_path / "b.csv", ROWS)
    write_csv(tmp_path / "c.csv", ROWS[:2])
    first, same, other = (
        source_of(tmp_path / name).describe() for name in ("a.csv", "b.csv", "c.csv")
    )
    assert first == same
    assert first != other


def test_the_digest_of_a_media_table_covers_its_ends(tmp_path):
    bytes_table(tmp_path / "a.parquet")
    bytes_table(tmp_path / "b.parquet", 4)
    first, other = (source_of(tmp_path / f"{n}.parquet").describe()["sha256"] for n in "ab")
    assert first == source_of(tmp_path / "a.parquet").describe()["sha256"] != other


def test_base64_in_other_columns_is_left_out(tmp_path, picture):
    plain = base64.b64encode(picture()).decode()
    other = {
        "a": plain,
        "b": {"bytes": plain, "path": "b.png"},
        "c": [{"bytes": plain}],
        "d": f"data:image/png;base64,{plain}",
    }
    rows = [{"image": plain, "text": "x", "n": 1}, {"image": plain, **other, "n": 2}]
    write_json_lines(tmp_path / "t.jsonl", rows)
    source = source_of(tmp_path / "t.jsonl")
    assert source.notes()[1] == "ignored columns of bytes: a, b, c, d"
    assert [record.metadata for record in source.records()] == [{"n": 1}, {"n": 2}]
    source = source_of(tmp_path / "t.jsonl", image="image b=b")
    _, second = source.records()
    assert (second.media["image.b"], second.metadata) == (
        Base64Ref(plain, "b.png"),
        {"b": "b.png", "n": 2},
    )


def test_how_each_file_is_read_is_noted_once(tmp_path):
    for name in ("p1.csv", "p2.csv", "p3.csv"):
        write_csv(tmp_path / name, [{"text": "a", "n": 1}], ";" if name != "p2.csv" else ",")
    notes = source_of(tmp_path / "p*.csv").notes()
    assert notes[1:] == ["p1.csv and 1 more: its cells are separated by semicolons"]


def test_a_missing_value_is_a_missing_part(tmp_path):
    rows = [{"image": float("nan"), "text": "a", "id": None}, {"image": None, "text": float("nan")}]
    write_json_lines(tmp_path / "t.jsonl", [*rows, {"image": "", "text": "", "id": float("nan")}])
    records = list(source_of(tmp_path / "t.jsonl", key="id").records())
    assert [list(record.media) for record in records] == [["text"], [], []]
    assert all(record.problems == {} and record.key == "" for record in records)


def test_a_folder_may_have_colons_in_its_name(tmp_path):
    folder = tmp_path / "run::2"
    folder.mkdir()
    write_csv(folder / "t.csv.gz", [{"file_name": "http/a.png"}])
    (folder / "t.csv.gz").write_bytes(gzip.compress((folder / "t.csv.gz").read_bytes()))
    (record,) = source_of(folder / "t.csv.gz").records()
    assert record.media["image"] == FileRef(str(folder / "http/a.png"))
    (record,) = source_of(tmp_path / "run::*/*.csv.gz").records()
    assert record.media["image"] == FileRef(str(folder / "http/a.png"))
