"""Rows by key and by condition."""

import numpy as np
import pyarrow as pa
import pytest

from mmfeat.scoring.rows.row_selection import KeySet, RowSelection, column_names, count_keys


@pytest.fixture
def key_file(tmp_path):
    def write(keys):
        path = tmp_path / "keys.txt"
        path.write_text("".join(f"{key}\n" for key in keys))
        return str(path)

    return write


def test_keys_of_the_file_and_no_others_are_found(key_file):
    keys = [f"key {n} ü" for n in range(0, 5000, 3)]
    found = KeySet(key_file(keys)).contains([f"key {n} ü" for n in range(5000)])
    assert np.flatnonzero(found).tolist() == [*range(0, 5000, 3)]


def test_equal_halves_of_digests_are_told_apart(key_file, monkeypatch):
    digests = {"a": b"1" * 8 + b"a" * 8, "b": b"1" * 8 + b"b" * 8, "c": b"1" * 8 + b"c" * 8}
    digests |= {"d": b"1" * 8 + b"d" * 8, "e": b"9" * 16}
    module = "mmfeat.scoring.rows.row_selection"
    monkeypatch.setattr(f"{module}._hash", lambda key: digests[key])
    monkeypatch.setattr(f"{module}._BLOCK", 2)
    found = KeySet(key_file(["d", "b", "a"])).contains(["a", "b", "c", "d", "e"])
    assert found.tolist() == [True, True, False, True, False]


def test_an_empty_file_has_no_key(key_file):
    assert not KeySet(key_file([])).contains(["a", ""]).any()


def test_a_name_that_is_no_key_is_found_as_the_key_it_becomes(key_file):
    assert KeySet(key_file(["folder/a.b"])).contains(["folder_a_b", "x"]).tolist() == [True, False]


def test_records_of_a_file_of_keys_are_counted_once(key_file, monkeypatch):
    monkeypatch.setattr("mmfeat.scoring.rows.row_selection._BLOCK", 2)
    assert count_keys(key_file(["a", "b", "a", "folder/a.b", "folder_a_b"])) == 3
    assert count_keys(key_file([])) == 0


def test_conditions_see_columns_and_keys():
    samples = pa.table({"__key__": ["a", "b", "c"], "n": [1, 2, None], "text": ["x", "y", "z"]})
    for where, expected in {
        "n >= 1": [True, True, False],
        'key != "a" and n is None': [False, False, True],
        'len(text) == 1 and text.upper() in ("X", "Z")': [True, False, True],
    }.items():
        assert RowSelection(where, "")(samples).tolist() == expected
    assert RowSelection("", "")(samples).all()


def test_names_of_functions_are_no_columns():
    assert column_names(' len(text) > 2 and lower(city) == "x" or key in size.split') == {
        "text", "city", "key", "size",
    }  # fmt: skip
