import math
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.records.keys import (
    MAX_BYTES,
    escapes_folder,
    file_stem,
    key_hash,
    key_text,
    safe_key,
    safe_tar_key,
    suffix_tildes,
    unique_key,
)
from mmfeat.shards.tar_reader import split_member_name

tar_keys = st.text(st.sampled_from("ab~5-/."), max_size=8)


@settings(deadline=None)
@given(st.text())
def test_webdataset_splits_names_after_a_safe_key(text):
    key = safe_key(text)
    assert split_member_name(f"{key}.txt") == (key, "txt")
    assert len(key.encode()) <= MAX_BYTES
    assert "/" not in key
    assert "\\" not in key
    assert not any(ord(char) < 32 for char in key)


@settings(deadline=None)
@given(st.text())
def test_safe_keys_stay_unchanged_unless_cut(text):
    key = safe_key(text)
    if "~" not in key:
        assert safe_key(key) == key


@settings(deadline=None)
@given(st.text(), st.text(max_size=60), st.integers(0, 10**12))
def test_a_suffixed_key_never_equals_a_safe_key(text, other, row):
    assert unique_key(safe_key(text), row) != safe_key(other)


@settings(deadline=None)
@given(tar_keys, tar_keys, st.integers(0, 99), st.integers(0, 99))
def test_a_suffixed_key_never_equals_a_tar_key(key, other, row, other_row):
    tildes = max(suffix_tildes(key), suffix_tildes(other))
    assert unique_key(key, row, tildes) != other
    if row != other_row:
        assert unique_key(key, row, tildes) != unique_key(other, other_row, tildes)


@settings(deadline=None)
@given(st.text(), st.integers(0, 10**6))
def test_keys_of_a_store_stay_unchanged(text, row):
    key = unique_key(safe_key(text), row)
    assert safe_tar_key(key) == key
    assert not escapes_folder(key)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab./\\~\n\0\udce9 "), max_size=12))
def test_foreign_tar_keys_become_valid(text):
    key = safe_tar_key(text)
    assert key
    assert safe_tar_key(key) == key
    assert not escapes_folder(key)
    assert split_member_name(f"{key}.txt") == (key, "txt")
    key.encode()


def test_keys_that_escape_the_folder():
    assert safe_tar_key("train.v1/001") == "train_v1/001"
    assert safe_tar_key("caf\udce9") == "caf_"
    assert not escapes_folder("a..b/c")
    assert [escapes_folder(key) for key in ("../a", "/etc/x", "a/../../b", "..\\a")] == [True] * 4


def test_only_unsafe_characters_change():
    assert safe_key("小龙虾_0") == "小龙虾_0"
    assert safe_key("v1.2/a~b\x00c") == "v1_2_a_b_c"
    assert safe_key("😀 ok-1") == "😀 ok-1"


def test_long_keys_are_cut_and_stay_different():
    first, second = safe_key("x" * 300 + "1"), safe_key("x" * 300 + "2")
    assert first != second
    assert len(first) == MAX_BYTES


def test_file_stems():
    assert file_stem("images/a.b.jpg") == "a.b"
    assert file_stem("C:\\pictures\\x.png") == "x"
    assert file_stem("plain") == "plain"


def test_key_hashes_never_change():
    assert key_hash("1f600") == "43d5bb7595a1456d"
    assert key_hash("小龙虾_0") == "45ebb26238f9f938"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (-2.0, "-2"), (1e20, "1" + "0" * 20), (7, "7"), ("7", "7"), ("7.0", "7"),
        (1.5, "1.5"), ("1.50", "1.50"), ("-0", "-0"), ("1.00", "1.00"),
        ("01", "01"), ("v1.0", "v1.0"), (" ", " "),
        (math.inf, "inf"), (True, "True"), ("True", "True"),
    ],
)  # fmt: skip
def test_equal_numbers_are_one_key(value, text):
    assert key_text(value) == text


def test_no_key_makes_a_tar_look_compressed(tmp_path):
    """The first name of a tar is its first bytes, by which readers tell compressed tars."""
    for name in ("BZh91AY&SY", "BZh11AY&SYx"):
        for key in (safe_key(name), safe_tar_key(name)):
            with tarfile.open(tmp_path / "x.tar", "w") as tar:
                tar.addfile(tarfile.TarInfo(f"{key}.txt"))
            with tarfile.open(tmp_path / "x.tar", "r|*") as tar:
                assert tar.getnames() == [f"{key}.txt"]
    assert safe_key("BZh9 1AY&SY") == "BZh9 1AY&SY"
