import csv
import gzip
import pickle
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import FileRef, TextRef
from mmfeat.records.record import Record
from mmfeat.sharding.selection import Condition, Selection, read_keys

RECORD = Record(
    3,
    "k3",
    {"text": TextRef("two words"), "image": FileRef("a.png")},
    {
        "width": 300,
        "high": "20.5",
        "label": "cat",
        "none": None,
        "tags": ["a", "b"],
        "exif": {"n": 1},
    },
)


@pytest.mark.parametrize(
    "condition",
    [
        'width >= 256 and label == "cat"',
        'label in ("cat", "dog")',
        "100 < width < 400",
        "not width < 256",
        "width / 2 == 150",
        'key == "k3"',
        "len(text) == 9",
        'label.startswith("c") and lower(label) == "cat"',
        '"a" in tags',
        "exif.n == 1",
        "none is None and label is not None",
        "none == None",
        'none > 3 or label == "cat"',
        'len(none) > 3 or label == "cat"',
    ],
)
def test_a_condition_is_written_as_in_python(condition):
    assert Condition(condition)(RECORD)


@pytest.mark.parametrize(
    "condition", ["high > 20", "20.5 == high", "high <= 21", "float(high) > 20", "width > '256'"]
)
def test_numbers_in_a_csv_are_texts_and_are_compared_as_numbers(condition):
    assert Condition(condition)(RECORD)


@pytest.mark.parametrize(
    "condition",
    [
        "none > 3",
        "not (none > 3)",
        'none != "cat"',
        'not (none == "cat")',
        'none not in ("cat", "dog")',
        "not none",
        "none",
        "gone > 3",
        "label > 3",
        "not (label > 3)",
        "label + 3 > 3",
        "len(width) > 0",
        "exif.gone == 1",
        "none.gone == 1",
        'none.startswith("c")',
        "width / 0 > 1",
        "tags[7] == 'a'",
        "int(label) > 3",
        'none > 3 and label == "cat"',
    ],
)
def test_what_is_missing_or_of_another_type_is_not_wanted(condition):
    assert not Condition(condition)(RECORD)


@pytest.mark.parametrize(
    "condition",
    [
        '__import__("os").system("true")',
        'open("/etc/passwd")',
        'eval("1")',
        "().__class__.__bases__",
        "label.__class__",
        'label.format("x")',
        '"{0.__class__}".format(label)',
        "label.ljust(10000000000)",
        'f"{width:>9999999999}"',
        "(lambda: 1)()",
        "[x for x in label]",
        "9**9**9",
        "10**900000 > 1",
        "1 << 9999 << 9999 << 9999",
        "9**999" + " * 9**999" * 100 + " > 0",
    ],
)
def test_what_leads_elsewhere_or_nowhere_is_refused_at_once(condition):
    started = time.monotonic()
    with pytest.raises(MmfeatError, match="--where cannot be evaluated"):
        Condition(condition)(RECORD)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("condition", ['"%9999999999d" % 1', '"x" * 9999999999', "tags * 99999999"])
def test_texts_and_lists_do_not_grow(condition):
    assert not Condition(condition)(RECORD)


@pytest.mark.parametrize(
    "condition",
    [
        "", "width >", "width = 3", "import os", "width; label", "(" * 300 + "1" + ")" * 300,
        "not " * 5000 + "width", "1+" * 20_000 + "1", "wi\0dth", "del width", "def f(): pass",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_before_any_record_is_read(condition):
    with pytest.raises(MmfeatError, match="--where must be a condition"):
        Condition(condition)


def test_a_name_that_no_record_has_is_refused_once_all_are_seen():
    condition = Condition("width > 3 and sometimes == 1")
    condition(RECORD)
    with pytest.raises(MmfeatError, match="got 'sometimes'"):
        condition.check()
    condition(Record(4, "k4", {}, {"width": 5, "sometimes": None}))
    condition.check()


def test_keys_come_from_a_text_a_line_each(tmp_path):
    lines = "\ufeffa\r\n\n  b c \nd".encode() + b"\ncaf\xe9\n"
    (tmp_path / "keys.txt").write_bytes(lines)
    (tmp_path / "keys.txt.gz").write_bytes(gzip.compress(lines))
    expected = ["a", "b c", "d", "caf\\udce9"]
    assert list(read_keys(str(tmp_path / "keys.txt"))) == expected
    assert list(read_keys(str(tmp_path / "keys.txt.gz"))) == expected


def test_keys_come_from_the_column_of_a_table(tmp_path):
    with (tmp_path / "keys.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["n", "key"], ["1", "a"], ["2"], ["3", "b"]])
    pq.write_table(pa.table({"uid": [7, None, 8], "x": [1, 2, 3]}), tmp_path / "keys.parquet")
    (tmp_path / "keys.jsonl").write_text('{"__key__": "a", "key": "z"}\n{"x": 1}\n[]\n')
    assert list(read_keys(str(tmp_path / "keys.csv"))) == ["a", "b"]
    assert list(read_keys(str(tmp_path / "keys.parquet"))) == ["7", "8"]
    assert list(read_keys(str(tmp_path / "keys.jsonl"))) == ["a"]


def test_keys_come_from_datacomps_array_of_uids(tmp_path):
    uids = ["0123456789abcdef0000000000000001", "f" * 32]
    halves = [(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids]
    np.save(tmp_path / "uids.npy", np.array(halves, np.dtype("u8,u8")))
    assert list(read_keys(str(tmp_path / "uids.npy"))) == uids


class _Trap:
    def __reduce__(self):
        return (open, ("/tmp/never-written-by-mmfeat", "w"))


@pytest.mark.parametrize(
    "content",
    [
        np.array([_Trap()], object),
        np.zeros((3, 2), "u8"),
        np.zeros(3, "u8"),
        np.zeros(3, "f8,f8"),
        np.zeros((3, 3), "u8,u8"),
        b"\x93NUMPY\x01\x00cut",
        b"",
        pickle.dumps(_Trap()),
    ],
    ids=lambda content: type(content).__name__ + str(getattr(content, "dtype", "")),
)
def test_an_array_of_another_kind_is_refused_and_no_pickle_is_opened(tmp_path, content):
    path = tmp_path / "uids.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(MmfeatError, match="uids"):
        list(read_keys(str(path)))


def test_a_file_of_keys_that_cannot_be_one_is_refused(tmp_path):
    with pytest.raises(MmfeatError, match="no such file of keys"):
        read_keys(str(tmp_path / "gone.txt"))
    with pytest.raises(MmfeatError, match="no such file of keys"):
        Selection(keys=str(tmp_path)).describe()
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MmfeatError, match=r"needs a column called __key__, key or uid.*got 'a, b'"):
        read_keys(str(tmp_path / "t.csv"))
    pq.write_table(pa.table({"key": [b"a"]}), tmp_path / "bytes.parquet")
    with pytest.raises(MmfeatError, match="holds texts or numbers"):
        list(read_keys(str(tmp_path / "bytes.parquet")))
    with pytest.raises(MmfeatError, match="--keys-column goes with --keys"):
        Selection(keys_column="uid")


def test_the_choice_is_told_by_what_is_in_the_file_of_keys(tmp_path):
    for name, text in (("a.txt", "x\n"), ("b.txt", "x\n"), ("c.txt", "y\n")):
        (tmp_path / name).write_text(text)
    first, same, other = (
        Selection("w > 1", str(tmp_path / name), "uid").describe()
        for name in ("a.txt", "b.txt", "c.txt")
    )
    assert first == same != other
    assert Selection().describe() == {"where": "", "keys_sha256": "", "keys_column": ""}


def test_a_record_is_looked_up_by_its_key_or_by_a_column():
    assert Selection(keys="k.txt").value(RECORD) == "k3"
    assert Selection(keys="k.txt", keys_column="width").value(RECORD) == "300"
    assert Selection(keys="k.txt", keys_column="none").value(RECORD) == ""
