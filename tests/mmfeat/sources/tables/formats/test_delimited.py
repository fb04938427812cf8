import csv
import io
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.sources import open_table, read_rows
from mmfeat.sources.tables.formats import OversizedRow, cells, text


@pytest.fixture
def read(tmp_path):
    """Writes a file and returns its rows and its notes."""

    def write_and_read(content, name="t.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        table = open_table(str(path))
        return list(read_rows(table)), " ".join(table.notes)

    return write_and_read


def texts_of(rows):
    return [row if isinstance(row, str) else row["text"] for row in rows]


def records_of(rows, separator=",", **options):
    """Return rows as Python's csv module writes them."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator, **options).writerows([["id", "text", "label"], *rows])
    return buffer.getvalue()


PLAIN = [[f"p{n}", f"word {n}", "red"] for n in range(20)]


@pytest.mark.parametrize(
    "texts",
    [
        ['"Is it far?" she asked.', '5" pipe', 'ends with one"'],
        ['"opens and does not close'],
        ['"opens and does not close', "between", 'ends with one"', '"'],
        ['"Hello."', '"Hello," he said.', '"Yes."', '"No," she said.'],
        ['""', '"" and more', '"a" "b"'],
    ],
)
def test_a_tsv_without_quoting_is_read_line_by_line(read, texts):
    rows = [*PLAIN[:5], *(["p", text, "blue"] for text in texts), *PLAIN[5:]]
    lines = "".join("\t".join(row) + "\n" for row in [["id", "text", "label"], *rows])
    found, notes = read(lines, "t.tsv")
    assert texts_of(found) == [text for _, text, _ in rows]
    assert [row["label"] for row in found] == [label for _, _, label in rows]
    assert "its quotes are read as text: the one in line" in notes


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_a_tsv_with_quoting_is_read_with_quotes(read, quoting):
    texts = ['say "hi"', "tab\there", "two\nlines", '"', "plain", "", "two\r\nlines\nthree"]
    rows = [*PLAIN, *(["p", text, "blue"] for text in texts)]
    found, notes = read(records_of(rows, "\t", quoting=quoting), "t.tsv")
    assert texts_of(found) == [text for _, text, _ in rows]
    assert "its quotes are read as quotes" in notes


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_stray_quote_among_quoted_cells_costs_one_line(read, separator):
    quoted = [[f"q{n}", f'a "b"{separator} c {n}', "blue"] for n in range(20)]
    lines = records_of([*PLAIN, *quoted], separator).splitlines(keepends=True)
    for place in (3, 25, 41):
        broken = [*lines[:place], separator.join(["s", '"12 inch', "red"]) + "\n", *lines[place:]]
        rows, _ = read("".join(broken), "t.csv" if separator == "," else "t.tsv")
        assert [row for row in rows if isinstance(row, str)] == [rows[place - 1]]
        assert rows[place - 1].startswith(f"line {place + 1}: ")
        assert [row["id"] for row in rows if isinstance(row, dict)] == [
            row[0] for row in [*PLAIN, *quoted]
        ]


@pytest.mark.parametrize("place", [1, 10, 19])
@pytest.mark.parametrize("strays", [1, 2, 3])
def test_stray_quotes_alone_are_text(read, place, strays):
    rows = [*PLAIN[:place], *[["s", '"12 inch', "x"]] * strays, *PLAIN[place:]]
    lines = ["id,text,label", *(",".join(row) for row in rows)]
    found, notes = read("\n".join(lines))
    assert [row["id"] for row in found] == [row[0] for row in rows]
    assert "its quotes are read as text" in notes


def test_an_unclosed_quote_does_not_use_all_memory(read, monkeypatch):
    monkeypatch.setattr(cells, "MAX_RECORD_LINES", 10)
    rows, _ = read('text,n\n"a, b",1\n"open,2\n' + "x,3\n" * 100)
    assert [row for row in rows if isinstance(row, str)] == [
        "line 3: a cell has more than 10 lines"
    ]
    assert len(rows) == 102


def test_lines_that_look_like_records_in_a_quoted_cell_are_noted(read):
    rows, notes = read('text,n\n"a, b",1\n"open,2\nx,3\nclosed",4\nx,5\n"c, d",6\n')
    assert len(rows) == 4
    assert "the quoted cell in line 3 holds lines that look like records" in notes
    rows, notes = read('file,text\na.png,"Hello\nthanks, bye"\n')
    assert [row["text"] for row in rows] == ["Hello\nthanks, bye"]
    assert "in line 2" in notes


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=3, max_size=3), min_size=1),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_the_csv_module_writes_is_read_unchanged(tmp_path_factory, rows, quoting):
    after, before = rows[0][1:], rows[0][:-1]
    # Spaces around all separators are left out.
    assume(not all(cell.startswith(" ") for cell in after))
    assume(not all(cell.endswith(" ") for cell in before))
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(records_of(rows, quoting=quoting).encode())
    found = list(read_rows(open_table(str(path))))
    # One record may be taken for several only by a file without another quoted cell.
    if len(found) == len(rows):
        assert [list(row.values()) for row in found] == rows


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from('ab,"\n\t '), max_size=60))
def test_every_line_is_counted(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text("id,text\n" + content)
    rows = list(read_rows(open_table(str(path))))
    inside = sum(
        row["text"].count("\n") + row["id"].count("\n") for row in rows if isinstance(row, dict)
    )
    lines = [line for line in content.split("\n") if line.strip()]
    blank = content.count("\n") + 1 - len(lines)
    assert len(rows) + inside >= len(lines) >= len(rows) + inside - blank


@pytest.mark.parametrize(
    ("name", "separator", "note"),
    [
        ("t.csv", ";", "separated by semicolons"),
        ("t.csv", "\t", "separated by tabs"),
        ("t.csv", "|", "separated by bars"),
        ("t.tsv", ",", "separated by commas"),
        ("t.csv", ",", ""),
        ("t.tsv", "\t", ""),
    ],
)
def test_the_first_lines_give_the_separator(read, name, separator, note):
    rows, notes = read(records_of([["1", "a, b; c", "x"], *PLAIN], separator), name)
    assert rows[0] == {"id": "1", "text": "a, b; c", "label": "x"}
    assert len(rows) == 21
    assert note in notes
    assert bool(note) == bool(notes)


def test_one_column_needs_no_separator(read):
    rows, notes = read("text\nhello; you\n\na|b\n")
    assert (texts_of(rows), notes) == (["hello; you", "a|b"], "")


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;\r", "\n\nsep=;"])
def test_the_separator_line_of_excel_is_read(read, line):
    rows, _ = read(f"{line}\nid;text\n1;a,b\n")
    assert rows == [{"id": "1", "text": "a,b"}]


def test_spaces_after_separators_are_left_out(read):
    rows, notes = read('file, text , label\na.png, "one, two", x\nb.png , three , y\n')
    assert rows == [
        {"file": "a.png", "text": "one, two", "label": "x"},
        {"file": "b.png", "text": "three", "label": "y"},
    ]
    assert "spaces around its cells are left out" in notes
    rows, _ = read('file,text\na.png, "one, two"\n')
    assert rows == [{"file": "a.png", "text": "one, two"}]
    rows, notes = read("file,text\na.png,one\nb.png, two \nc.png,\n")
    assert (texts_of(rows), notes) == (["one", " two ", ""], "")


def test_columns_without_a_name(read):
    rows, _ = read(",text,,\n0,a,,\n1,b,,x\n2,c,,,,\n")
    assert rows == [
        {"unnamed_0": "0", "text": "a"},
        {"unnamed_0": "1", "text": "b", "unnamed_3": "x"},
        {"unnamed_0": "2", "text": "c"},
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_byte_order_mark_gives_the_encoding(read, name, encoding):
    separator = "," if name == "t.csv" else "\t"
    rows, notes = read(records_of([["1", 'thé "麻辣"\n', "x"]], separator), name, encoding)
    assert rows == [{"id": "1", "text": 'thé "麻辣"\n', "label": "x"}]
    assert ("read as UTF-" in notes) == (encoding != "utf-8-sig")


def test_other_bytes_are_refused_or_noted_with_their_line(read):
    with pytest.raises(MmfeatError, match=r"t\.csv is not text in UTF-8.*Save the table as UTF-8"):
        read("id,text\n1,a\n", encoding="utf-16-le")
    rows, notes = read(b"\nid,text\n1,a\n2,\xe9\n3,\xe9\n")
    assert texts_of(rows) == ["a", "\udce9", "\udce9"]
    assert "line 4 is not UTF-8" in notes
    assert "line 1 is not UTF-8" in read(b"id,t\xe9\n1,a\n")[1]


def test_a_blank_first_line_is_no_header(read):
    assert read("\n \nid,text\n1,a\n")[0] == [{"id": "1", "text": "a"}]


def test_the_same_file_gives_the_same_rows_however_often_it_is_read(tmp_path):
    lines = [random.Random(n).choice(['a,"b"', 'a,"b', "a,b", 'a,"b\nc"', "a"]) for n in range(200)]
    (tmp_path / "t.csv").write_text("id,text\n" + "\n".join(lines))
    table = open_table(str(tmp_path / "t.csv"))
    assert list(read_rows(table)) == list(read_rows(table)) != []


@pytest.mark.parametrize("cell", ["b" * 200, '"' + "b" * 200 + '"', "b" * 99])
def test_a_record_that_is_too_long_is_one_row(tmp_path, monkeypatch, cell):
    for module in (cells, text):
        monkeypatch.setattr(module, "MAX_RECORD_CHARACTERS", 100)
    (tmp_path / "t.csv").write_text(f"key,text\n1,a\n2,{cell}\n3,c\n")
    first, second, *_, last = read_rows(open_table(str(tmp_path / "t.csv")))
    assert (first, last) == ({"key": "1", "text": "a"}, {"key": "3", "text": "c"})
    assert isinstance(second, OversizedRow)
    assert second == "line 3: a record has more than 100 characters"


def test_quotes_that_never_fit_are_text_and_do_not_read_the_file_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "_REREAD_CHARACTERS", 10_000)
    (tmp_path / "t.csv").write_text("key,text\n" + 'b","\n' * 5000)
    assert (
        list(read_rows(open_table(str(tmp_path / "t.csv")))) == [{"key": 'b"', "text": '"'}] * 5000
    )
    (tmp_path / "t.csv").write_text('"key",text\n' + 'b","\n' * 5000)
    with pytest.raises(MmfeatError, match="too many quotes open and do not close"):
        list(read_rows(open_table(str(tmp_path / "t.csv"))))
