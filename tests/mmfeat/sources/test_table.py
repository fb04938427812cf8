import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.sources import open_source

ROWS = [
    {"file_name": "images/小龙虾_0.jpg", "text": '麻辣，\n"鲜香"', "label": "aquatic"},
    {"file_name": "", "text": "no picture", "label": "none"},
    {"file_name": "b.jpg", "text": "", "label": ""},
]


def write_csv(path, rows, separator=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_gzip(path, rows):
    write_csv(path.with_suffix(""), rows)
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))


WRITERS = {
    "t.csv": write_csv,
    "t.tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "t.jsonl": write_json_lines,
    "t.parquet": write_parquet,
    "t.csv.gz": write_gzip,
}


def source_of(path, key_column="", **columns):
    return open_source(str(path), columns, key_column)


@pytest.mark.parametrize("name", WRITERS)
def test_every_form_of_table_gives_the_same_records(tmp_path, name):
    WRITERS[name](tmp_path / name, ROWS)
    source = source_of(tmp_path / name)
    first, second, third = source.records()
    assert source.modalities == ("image", "text")
    assert source.root == str(tmp_path)
    assert first.key == "小龙虾_0"
    assert first.parts["image"].path == ROWS[0]["file_name"]
    assert first.parts["text"].value == ROWS[0]["text"]
    assert first.metadata == {"file_name": ROWS[0]["file_name"], "label": "aquatic"}
    assert list(second.parts) == ["text"]
    assert second.key == ""
    assert list(third.parts) == ["image"]
    assert [record.row for record in (first, second, third)] == [0, 1, 2]


def test_columns_are_found_under_their_usual_names_whatever_their_case(tmp_path):
    write_csv(tmp_path / "t.csv", [{"Caption": "words", "Image_Path": "a.png", "n": "1"}])
    (record,) = source_of(tmp_path / "t.csv").records()
    assert (record.parts["image"].path, record.parts["text"].value) == ("a.png", "words")


def test_named_columns_win_and_unknown_ones_are_refused_with_the_nearest(tmp_path):
    write_csv(tmp_path / "t.csv", [{"text": "a", "title": "b", "file_name": "x.png"}])
    (record,) = source_of(tmp_path / "t.csv", text="title").records()
    assert record.parts["text"].value == "b"
    with pytest.raises(MmfeatError, match=r"got 'titel'.*Did you mean 'title'\?.*text, title"):
        source_of(tmp_path / "t.csv", text="titel")
    with pytest.raises(MmfeatError, match="--key-column must name a column"):
        source_of(tmp_path / "t.csv", key_column="id")


def test_a_table_without_pictures_and_texts_is_refused(tmp_path):
    write_csv(tmp_path / "t.csv", [{"a": "1", "b": "2"}])
    with pytest.raises(MmfeatError, match="no column of pictures or texts"):
        source_of(tmp_path / "t.csv")


def test_keys_come_from_the_key_column_where_one_is_named(tmp_path):
    write_csv(tmp_path / "t.csv", [{"file_name": "x.png", "id": "v1.2"}])
    (record,) = source_of(tmp_path / "t.csv", key_column="id").records()
    assert record.key == "v1_2"


def test_lines_that_cannot_be_parsed_are_records_with_a_reason(tmp_path):
    (tmp_path / "t.csv").write_text("file_name,text\na.png,x\nb.png\nc.png,y,z\n\nd.png,w\n")
    reasons = [record.problems for record in source_of(tmp_path / "t.csv").records()]
    assert [problems.get("", ("",))[0] for problems in reasons] == [
        "", "malformed_row", "malformed_row", "",
    ]  # fmt: skip
    assert "line 3: 1 cells, the header 2" in reasons[1][""][1]
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": \n[1]\n{"text": "b"}\n')
    reasons = [record.problems for record in source_of(tmp_path / "t.jsonl").records()]
    assert [bool(problems) for problems in reasons] == [False, True, True, False]


def test_a_text_that_is_not_utf8_is_a_problem_of_that_record_alone(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"file_name,text,n\na.png,caf\xe9,1\nb.png,ok,2\n")
    first, second = source_of(tmp_path / "t.csv").records()
    assert first.problems["text"][0] == "undecodable"
    assert first.parts["image"].path == "a.png"
    assert second.problems == {}


def test_a_cell_that_should_be_a_string_and_is_not_says_what_it_is(tmp_path):
    write_json_lines(tmp_path / "t.jsonl", [{"text": "a", "image": "x.png"}, {"text": 5}])
    _, second = source_of(tmp_path / "t.jsonl").records()
    assert second.problems["text"] == ("undecodable", "column 'text' holds int, not a string")


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(MmfeatError, match="is empty: no header and no row"):
        source_of(tmp_path / name)


def test_a_path_that_is_no_table_says_which_forms_there_are(tmp_path):
    with pytest.raises(MmfeatError, match=r"no such file: .*gone\.csv"):
        source_of(tmp_path / "gone.csv")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(MmfeatError, match=r"must end in one of \.csv.*got '\.xlsx'"):
        source_of(tmp_path / "t.xlsx")
    (tmp_path / "t.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(MmfeatError, match="cannot be read as a table"):
        source_of(tmp_path / "t.parquet")


def test_columns_that_share_a_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("text,text\na,b\n")
    with pytest.raises(MmfeatError, match="a name of its own; got 'text'"):
        source_of(tmp_path / "t.csv")


def test_the_digest_changes_with_the_table_and_only_then(tmp_path):
    write_csv(tmp_path / "a.csv", ROWS)
    write_csv(tmp_path / "b.csv", ROWS)
    write_csv(tmp_path / "c.csv", ROWS[:2])
    first, same, other = (
        source_of(tmp_path / name).describe() for name in ("a.csv", "b.csv", "c.csv")
    )
    assert first == same
    assert first != other
