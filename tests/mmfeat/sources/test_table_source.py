import base64
import csv
import gzip
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import Base64Ref, FileRef, ParquetCellRef, TextRef
from mmfeat.sources.base import InputOptions
from mmfeat.sources.registry import open_source
from mmfeat.sources.table_formats import open_decompressed

ROWS = [
    {"file_name": "images/小龙虾_0.jpg", "text": '麻辣，\n"鲜香"', "label": "aquatic"},
    {"file_name": "", "text": "no picture", "label": "none"},
    {"file_name": "b.jpg", "text": "", "label": ""},
]
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write_csv(path, rows, separator=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def compressed(write, compress):
    def write_compressed(path, rows):
        write(path, rows)
        path.write_bytes(compress(path.read_bytes()))

    return write_compressed


WRITERS = {
    "t.csv": write_csv,
    "t.tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "t.jsonl": write_json_lines,
    "t.ndjson": write_json_lines,
    "t.json": lambda path, rows: path.write_text(json.dumps(rows)),
    "data.json": lambda path, rows: path.write_text(json.dumps({"info": [{}], "data": rows})),
    "bom.json": lambda path, rows: path.write_text(json.dumps(rows), encoding="utf-8-sig"),
    "bom.csv": compressed(write_csv, lambda content: b"\xef\xbb\xbf" + content),
    "T.PARQUET": write_parquet,
    "t.csv.gz": compressed(write_csv, gzip.compress),
    "t.jsonl.gz": compressed(write_json_lines, gzip.compress),
    "t.csv.zst": compressed(write_csv, zstandard.compress),
    "t.json.zst": compressed(
        lambda path, rows: path.write_text(json.dumps(rows)), zstandard.compress
    ),
}  # fmt: skip


def source_of(path, key="", outside=False, **columns):
    named = {modality: tuple(names.split()) for modality, names in columns.items()}
    return open_source(str(path), InputOptions(named, key, outside))


def sound():
    file = io.BytesIO()
    soundfile.write(file, [0.0, 0.1] * 400, 8000, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize("name", WRITERS)
def test_all_formats_give_the_same_records(tmp_path, name):
    WRITERS[name](tmp_path / name, ROWS)
    source = source_of(tmp_path / name)
    first, second, third = source.records()
    assert source.slots == ("image", "text")
    assert first.key == "小龙虾_0"
    assert first.media == {
        "image": FileRef(str(tmp_path / ROWS[0]["file_name"])),
        "text": TextRef(ROWS[0]["text"]),
    }
    assert first.metadata == {"file_name": ROWS[0]["file_name"], "label": "aquatic"}
    assert list(second.media) == ["text"]
    assert second.key == ""
    assert list(third.media) == ["image"]
    assert [record.row for record in (first, second, third)] == [0, 1, 2]


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


def test_columns_are_found_by_conventional_names(tmp_path):
    write_csv(tmp_path / "t.csv", [{"Caption": "words", "Image_Path": "a.png", "n": "1"}])
    (record,) = source_of(tmp_path / "t.csv").records()
    assert record.media == {"image": FileRef(str(tmp_path / "a.png")), "text": TextRef("words")}


def test_paths_give_the_modality_of_their_column(tmp_path):
    write_csv(tmp_path / "a.csv", [{"file_name": ""}, {"file_name": "x.WAV"}])
    assert source_of(tmp_path / "a.csv").slots == ("audio",)
    write_csv(tmp_path / "b.csv", [{"path": "x.flac", "image": "y.png", "sentence": "z"}])
    assert source_of(tmp_path / "b.csv").slots == ("image", "audio", "text")
    write_csv(tmp_path / "c.csv", [{"url": "http://x/y.mp3?a=b.png"}])
    assert source_of(tmp_path / "c.csv").slots == ("audio",)


def test_urls_stay_unchanged(tmp_path):
    write_csv(tmp_path / "t.csv", [{"url": "http://x/a%20b/c.jpg?w=1.5", "caption": "x"}])
    (record,) = source_of(tmp_path / "t.csv").records()
    assert record.media["image"] == FileRef("http://x/a%20b/c.jpg?w=1.5")
    assert record.key == "c"


def test_a_record_may_have_several_images(tmp_path):
    write_csv(tmp_path / "t.csv", [{"image": "a.png", "l": "l.png", "x=y": "r.png", "s": "c.wav"}])
    source = source_of(tmp_path / "t.csv", image="image left=l right=x=y")
    (record,) = source.records()
    assert source.slots == ("image", "image.left", "image.right")
    assert record.media["image.left"] == FileRef(str(tmp_path / "l.png"))
    assert record.media["image.right"] == FileRef(str(tmp_path / "r.png"))
    assert record.metadata == {"image": "a.png", "l": "l.png", "x=y": "r.png", "s": "c.wav"}
    with pytest.raises(MmfeatError, match="given twice"):
        source_of(tmp_path / "t.csv", image="image l")


def test_unknown_columns_are_refused_with_a_suggestion(tmp_path):
    write_csv(tmp_path / "t.csv", [{"text": "a", "title": "b", "file_name": "x.png"}])
    (record,) = source_of(tmp_path / "t.csv", text="title").records()
    assert record.media["text"].value == "b"
    with pytest.raises(MmfeatError, match=r"got 'titel'.*Did you mean 'title'\?.*text, title"):
        source_of(tmp_path / "t.csv", text="titel")
    with pytest.raises(MmfeatError, match="--key-column must name a column"):
        source_of(tmp_path / "t.csv", key="id")


def test_a_table_without_media_is_refused(tmp_path):
    write_csv(tmp_path / "t.csv", [{"a": "1", "b": "2"}])
    with pytest.raises(MmfeatError, match="no column of images, audio or text"):
        source_of(tmp_path / "t.csv")


def test_keys_come_from_the_key_column(tmp_path):
    write_json_lines(tmp_path / "t.jsonl", [{"text": "x", "id": "v1.2"}, {"text": "y", "id": 7}])
    assert [r.key for r in source_of(tmp_path / "t.jsonl", key="id").records()] == ["v1_2", "7"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "WAV"])
def test_base64_is_detected_by_its_first_characters(tmp_path, picture, kind):
    content = sound() if kind == "WAV" else picture(kind=kind)
    plain, lines = base64.b64encode(content).decode(), base64.encodebytes(content).decode()
    rows = [{"image": value, "text": "x"} for value in (plain, lines, f"data:x/y;base64,{plain}")]
    write_csv(tmp_path / "t.csv", rows)
    records = list(source_of(tmp_path / "t.csv").records())
    assert {type(record.media["image"]) for record in records} == {Base64Ref}
    assert {"".join(r.media["image"].value.split()) for r in records} == {plain}
    assert all(record.metadata == {} and record.key == "" for record in records)


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


def test_absolute_paths_stay_unchanged(tmp_path):
    write_csv(tmp_path / "t.csv", [{"image": "/elsewhere/a.png"}])
    (record,) = source_of(tmp_path / "t.csv").records()
    assert record.media["image"] == FileRef("/elsewhere/a.png")


def bytes_table(path, count=3):
    columns = {
        "image": pa.array(
            [{"bytes": b"x" * 50, "path": f"f/{i}.png"} for i in range(count)], STRUCT
        ),
        "audio": pa.array([b"y" * 50] * count, pa.large_binary()),
        "raw": pa.array([b"z" * 50] * count, pa.binary()),
        "packed": pa.array([b"z" * 50] * count).dictionary_encode(),
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
    bytes_table(tmp_path / "t.parquet")
    read = pq.ParquetFile.iter_batches
    read_columns = set()

    def spy(self, *arguments, columns=None, **options):
        read_columns.update(columns)
        return read(self, *arguments, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    list(source_of(tmp_path / "t.parquet").records())
    assert read_columns == {"image.path", "label", "caption"}


def test_a_table_with_bytes_only_has_a_record_per_row(tmp_path):
    pq.write_table(pa.table({"image": [b"x", None]}), tmp_path / "t.parquet")
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


def test_a_key_column_of_bytes_is_refused(tmp_path):
    bytes_table(tmp_path / "t.parquet")
    with pytest.raises(MmfeatError, match="--key-column must hold texts or numbers; got 'raw'"):
        source_of(tmp_path / "t.parquet", key="raw")


def test_malformed_rows_are_records_with_a_reason(tmp_path):
    (tmp_path / "t.csv").write_text("file_name,text\na.png,x\nb.png\nc.png,y,z\n\nd.png,w\n")
    reasons = [record.problems for record in source_of(tmp_path / "t.csv").records()]
    assert [problems.get("", ("",))[0] for problems in reasons] == [
        "", "malformed_row", "malformed_row", "",
    ]  # fmt: skip
    assert "t.csv: line 3: 1 cells, the header 2" in reasons[1][""][1]
    deep = "[" * 100_000
    (tmp_path / "t.jsonl").write_text(
        f'{{"text": "a"}}\n{{"text": \n[1]\n{deep}\n{{"n": 1{"0" * 5000}}}\n{{"text": "b"}}\n'
    )
    reasons = [record.problems for record in source_of(tmp_path / "t.jsonl").records()]
    assert [bool(problems) for problems in reasons] == [False, True, True, True, True, False]


def test_deeply_nested_values_affect_their_record_only(tmp_path):
    deep = "[" * 700 + "]" * 700
    (tmp_path / "t.jsonl").write_text(f'{{"text": "a", "x": {deep}}}\n{{"text": "b"}}\n')
    first, second = source_of(tmp_path / "t.jsonl").records()
    assert first.problems.get("", ("malformed_row",))[0] == "malformed_row"
    assert second.media == {"text": TextRef("b")}


@pytest.mark.parametrize(
    "content",
    ['[{"text": "a"}, {"text": ', '[{"text": "a"}, {"text": NaN}]', '[{"text": "a"}, "b"]',
     '[{"text": "a"}, {"text": "\\ud8"}]'],
)  # fmt: skip
def test_a_damaged_json_array_ends_with_a_malformed_row(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    first, second = source_of(tmp_path / "t.json").records()
    assert first.media == {"text": TextRef("a")}
    assert second.problems[""][0] == "malformed_row"


def test_a_text_that_is_not_utf8_affects_its_record_only(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"file_name,text,n\na.png,caf\xe9,1\nb\xe9.png,ok,\xe9\n")
    first, second = source_of(tmp_path / "t.csv").records()
    assert first.problems["text"][0] == "undecodable"
    assert first.media["image"].path == str(tmp_path / "a.png")
    assert second.problems == {}
    assert second.media["image"].path == str(tmp_path / "b\udce9.png")
    assert (second.key, second.metadata["n"]) == ("b_", "\\udce9")


def test_column_names_that_are_not_utf8_are_escaped(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"text,pr\xe9nom\na,b\n")
    source = source_of(tmp_path / "t.csv")
    assert next(source.records()).metadata == {"pr\\udce9nom": "b"}


def test_a_cell_of_another_type_is_a_problem(tmp_path):
    write_json_lines(tmp_path / "t.jsonl", [{"text": "a", "image": "x.png"}, {"text": 5}])
    _, second = source_of(tmp_path / "t.jsonl").records()
    assert second.problems["text"] == ("undecodable", "column 'text' holds int, not a string")


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(MmfeatError, match="is empty: no header and no row"):
        source_of(tmp_path / name)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv.gz", "t.csv.zst", "t.jsonl.gz"])
def test_files_with_a_wrong_suffix_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"text,n\nnot what its name says\n")
    with pytest.raises(MmfeatError, match=r"cannot be read as a table|breaks off"):
        source_of(tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz", "t.csv.zst"])
def test_a_truncated_compressed_table_is_refused(tmp_path, name):
    numbers = [{"text": str(random.Random(i).random())} for i in range(5000)]
    WRITERS[name](tmp_path / name, numbers)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(MmfeatError, match=r"breaks off|cannot be read as a table"):
        list(source_of(tmp_path / name).records())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_all_frames_of_a_compressed_file_are_read(tmp_path_factory, frames):
    path = tmp_path_factory.mktemp("zst") / "a.zst"
    path.write_bytes(b"".join(map(zstandard.compress, frames)))
    with open_decompressed(str(path)) as file:
        assert file.read() == b"".join(frames)


def test_a_parquet_table_with_damaged_pages_is_refused(tmp_path):
    write_parquet(tmp_path / "t.parquet", [{"text": f"text {i}"} for i in range(1000)])
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[4:400] = b"\xff" * 396
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(MmfeatError, match="breaks off after 0 rows"):
        list(source_of(tmp_path / "t.parquet").records())


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(MmfeatError, match=r"no such file: .*gone\.csv"):
        source_of(tmp_path / "gone.csv")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(MmfeatError, match=r"must be a folder or end in .*\.csv.*got '\.xlsx'"):
        source_of(tmp_path / "t.xlsx")


def test_repeated_column_names_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("text,text\na,b\n")
    with pytest.raises(MmfeatError, match="must have different names; got 'text'"):
        source_of(tmp_path / "t.csv")


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
