import gzip
import json

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records import FileRef
from mmfeat.sources import open_table, read_rows
from mmfeat.sources.tables.formats import OversizedRow, json_values, text
from tests.mmfeat.sources.tables.table_inputs import source_of

COUNT = 12
PLACES = [(1, 3), (2, 64), (2, 1 << 16), (COUNT - 1, 7)]
"""Numbers of a record, and characters that are read at a time."""

BIG = 2**64 + 1


def texts(number):
    """Return the JSON of some records; the record of this number is left out."""
    rows = [json.dumps({"n": n, "text": f"word {n}", "in": [{"x": n}]}) for n in range(COUNT)]
    return rows[:number], rows[number + 1 :]


@pytest.fixture(params=["array", "data", "lines", "array of lines"])
def write(request, tmp_path):
    """Writes texts of records as one table, and returns its rows."""

    def write_table(records, encoding="utf-8"):
        if request.param == "lines":
            path, content = "t.jsonl", "\n".join(records)
        elif request.param == "array of lines":
            path, content = "t.jsonl", "[\n" + ",\n".join(records) + "\n]\n"
        else:
            content = "[" + ", ".join(records) + "]"
            path = "t.json"
        if request.param == "data":
            content = f'{{"info": {{"a": [1]}}, "extra": [1, [2]], "data": {content}, "end": 1}}'
        (tmp_path / path).write_bytes(content.encode(encoding, "surrogateescape"))
        return list(read_rows(open_table(str(tmp_path / path))))

    return write_table


def test_a_column_may_begin_in_any_row(tmp_path):
    rows = [{"text": "x"}] * 5000 + [{"picture": "a.png"}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert open_table(str(path)).columns == ["text", "picture"]
    path.write_text(json.dumps(rows))
    assert open_table(str(path)).columns == ["text", "picture"]
    *_, last = source_of(path, image="picture").records()
    assert last.media["image"] == FileRef(str(tmp_path / "a.png"))


def test_the_rows_say_where_a_file_breaks_off(tmp_path):
    content = json.dumps([{"text": "x"}, {"picture": "a.png"}, {"text": "y"}])
    (tmp_path / "t.json").write_text(content[:-8])
    table = open_table(str(tmp_path / "t.json"))
    assert table.columns == ["text", "picture"]
    with pytest.raises(MmfeatError, match="breaks off after 2 rows"):
        list(read_rows(table))
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n' * 99)[:-9])
    with pytest.raises(MmfeatError, match=r"cannot be read|breaks off"):
        list(read_rows(open_table(str(tmp_path / "t.jsonl.gz"))))


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ('{"x": NaN}', None),
        ('{"x": -Infinity}', float("-inf")),
        (f'{{"x": {BIG}}}', BIG),
        ('{"x": 1e400}', float("inf")),
        ('{"x": "tab\there"}', "tab\there"),
        ('{"x": "bell\x07"}', "bell\x07"),
        ('{"x": "\\ud83d"}', "\ud83d"),
        ('{"x": 1.5e-3}', 1.5e-3),
    ],
    ids=repr,
)
def test_a_record_that_python_reads_is_read(write, monkeypatch, record, value):
    for number, block in PLACES:
        monkeypatch.setattr(json_values, "_BLOCK_CHARACTERS", block)
        before, after = texts(number)
        rows = write([*before, record, *after])
        assert [row.get("n") for row in rows] == [*range(number), None, *range(number + 1, COUNT)]
        found = rows[number]["x"]
        assert found == value or (value is None and found != found)
        assert type(found) is (float if value is None else type(value))


@pytest.mark.parametrize(
    "record",
    [
        '{"x": "caf\udce9"}',
        '{"x": "\\ud8"}',
        '{"x": 1,}',
        '{"x" 1}',
        '{"x": 1 "y": [{"z": 2}, {"z": 3}]}',
        '{"x": ' + "9" * 5000 + "}",
        '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "[1, {}]",
        '"text"',
        "null",
        "-1.5e3",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_a_record_that_cannot_be_read_is_one_malformed_row(write, monkeypatch, record):
    for number, block in PLACES:
        monkeypatch.setattr(json_values, "_BLOCK_CHARACTERS", block)
        before, after = texts(number)
        rows = write([*before, record, *after])
        assert len(rows) == COUNT
        assert [place for place, row in enumerate(rows) if isinstance(row, str)] == [number]


@pytest.mark.parametrize(
    "record",
    [
        '{"x": "12" pipe"}',
        '{"x": "open}',
        "{'x': 1}",
        '{"x": [1}',
        '{"x": 1',
        '{"x": 1}}',
        '{"x": 1} {"x": 2}',
        "",
        "word",
        '{"x": True}',
    ],
)
@pytest.mark.parametrize("number", [2, COUNT - 1])
def test_an_array_that_cannot_be_read_on_is_an_error(tmp_path, record, number):
    before, after = texts(number)
    (tmp_path / "t.json").write_text("[" + ",\n".join([*before, record, *after]) + "]")
    rows = read_rows(open_table(str(tmp_path / "t.json")))
    message = rf"t\.json breaks off after ({number}|{number + 1}) rows: line \d+: .*Repair the file"
    with pytest.raises(MmfeatError, match=message):
        list(rows)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_array_that_is_cut_off_is_an_error(tmp_path, kept, wrapped):
    records = [{"text": f"word {n}"} for n in range(200)]
    content = json.dumps({"data": records} if wrapped else records)
    (tmp_path / "t.json").write_text(content[: int(len(content) * kept)])
    with pytest.raises(MmfeatError, match=r"breaks off after \d+ rows: line 1"):
        list(read_rows(open_table(str(tmp_path / "t.json"))))


@pytest.mark.parametrize("end", ["[1]", '{"text": "c"}', "]", '"', ", 1"])
def test_content_after_the_end_is_an_error(tmp_path, end):
    (tmp_path / "t.json").write_text('[{"text": "a"}, {"text": "b"}]\n' + end)
    with pytest.raises(MmfeatError, match=r"line 2: .* follows where the JSON is complete"):
        list(read_rows(open_table(str(tmp_path / "t.json"))))


def test_a_value_without_an_end_does_not_use_all_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_values, "_BLOCK_CHARACTERS", 64)
    monkeypatch.setattr(json_values, "MAX_RECORD_CHARACTERS", 500)
    (tmp_path / "t.json").write_text('[{"text": "a"}, {"text": "' + "b" * 5000)
    with pytest.raises(MmfeatError, match="breaks off after 1 rows: line 1"):
        list(read_rows(open_table(str(tmp_path / "t.json"))))


LONG_RECORDS = {
    "text": '{"text": "' + "b" * 900 + r"\\" * 20 + r"\"" * 20 + '"}',
    "texts": json.dumps({"text": "b", "list": ['c ] } , " \\' * 20, {"n": [1, None]}] * 5}),
    "numbers": json.dumps({"text": "b", "list": [-1.5e3, True, None] * 70}),
    "brackets": '{"text": "b", "list": ' + "[{}, []," * 90 + "[]" + "]" * 90 + "}",
    "scalar": "1" * 900,
}


@pytest.mark.parametrize("record", LONG_RECORDS.values(), ids=LONG_RECORDS)
@pytest.mark.parametrize("block", [1, 7, 64])
def test_a_record_that_is_too_long_is_one_row(write, monkeypatch, record, block):
    monkeypatch.setattr(json_values, "_BLOCK_CHARACTERS", block)
    monkeypatch.setattr(json_values, "_MAX_REST_CHARACTERS", 100)
    monkeypatch.setattr(json_values, "MAX_RECORD_CHARACTERS", 500)
    monkeypatch.setattr(text, "MAX_RECORD_CHARACTERS", 500)
    monkeypatch.setattr(text, "_SKIPPED_CHARACTERS", block)
    first, second, third = write(['{"text": "a"}', record, '{"text": "c"}'])
    assert (first, third) == ({"text": "a"}, {"text": "c"})
    assert isinstance(second, OversizedRow)


def test_a_record_of_too_many_values_is_one_row(tmp_path, monkeypatch):
    monkeypatch.setattr(json_values, "_BLOCK_CHARACTERS", 64)
    monkeypatch.setattr(json_values, "MAX_RECORD_VALUES", 100)
    records = [{"text": "a"}, {"text": "b", "list": [[]] * 200}, {"text": "c"}]
    for content in (json.dumps(records), "\n".join(map(json.dumps, records))):
        (tmp_path / "t.json").write_text(content)
        first, second, third = read_rows(open_table(str(tmp_path / "t.json")))
        assert isinstance(second, OversizedRow)
        assert (first, third) == ({"text": "a"}, {"text": "c"})


def test_one_object_with_many_names_is_no_table(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({f"id{n}": {"text": "a"} for n in range(10_001)}))
    with pytest.raises(MmfeatError, match=r"one JSON object, .* id19 \(an object\), and .* more"):
        open_table(str(tmp_path / "t.json"))


@pytest.mark.parametrize("content", ['{"text": "caf\udce9"}', "{[1]: 2}"])
def test_a_single_object_that_is_malformed_gives_no_text(tmp_path, content):
    (tmp_path / "t.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(MmfeatError, match=r"not UTF-8|names in double quotes"):
        list(read_rows(open_table(str(tmp_path / "t.json"))))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_gives_the_encoding(write, encoding):
    rows = write([json.dumps({"text": "thé 麻辣"}, ensure_ascii=False)] * 2, encoding)
    assert rows == [{"text": "thé 麻辣"}] * 2


def test_json_lines_may_be_called_json(tmp_path):
    (tmp_path / "t.json").write_text('{"text": "a"}\n{"text": "b", "n": [1]}\nx\n\n')
    first, second, third = read_rows(open_table(str(tmp_path / "t.json")))
    assert (first, second) == ({"text": "a"}, {"text": "b", "n": [1]})
    assert third.startswith("line 3: ")
    (tmp_path / "one.json").write_text('{"text": "a", "n": null}\n')
    assert list(read_rows(open_table(str(tmp_path / "one.json")))) == [{"text": "a", "n": None}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", {"text": {"0": "a"}, "n": {"0": 1}}, r"it has: text \(an object\), n \(an obj"),
        ("t.json", {"version": 1, "rows": [{}, {}]}, r"version, rows \(an array of 2\).*to_json"),
        ("t.json", {"columns": ["text"], "data": [["a"]]}, "record 1: not a JSON object"),
        ("t.json", ["a", "b"], "record 1: not a JSON object: a.*Write an array of objects"),
        ("t.json", 5, "cannot be read as a table: line 1: '\\[' is missing before '5'"),
        ("t.json", [{}], "no row of .* with columns: an object without names"),
        ("t.jsonl", "pretty", "line 1: Expecting property name .*one object per line"),
        ("t.jsonl", [["a"], ["b"]], "record 1: not a JSON object"),
        ("t.json", [], "is empty: no header and no row"),
    ],
)
def test_another_form_is_refused_with_what_was_seen(tmp_path, name, content, message):
    text = '{\n "text": "a"\n}\n' * 2 if content == "pretty" else json.dumps(content)
    (tmp_path / name).write_text(text)
    with pytest.raises(MmfeatError, match=message):
        open_table(str(tmp_path / name))
