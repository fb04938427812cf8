import random

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import FileRef, TextRef
from tests.mmfeat.sources.tables.table_inputs import ROWS, WRITERS, source_of, write_parquet


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
