from hypothesis import given, settings
from hypothesis import strategies as st
from mmfeat.shards.tar_reader import split_name

from mmfeat.records.keys import (
    MAX_BYTES,
    escapes_folder,
    file_stem,
    key_hash,
    safe_key,
    safe_tar_key,
    suffix_tildes,
    unique_key,
)

keys_of_tars = st.text(st.sampled_from("ab~5-/."), max_size=8)


@settings(deadline=None)
@given(st.text())
def test_a_safe_key_survives_webdatasets_splitting_of_names(text):
    key = safe_key(text)
    assert split_name(f"{key}.txt") == (key, "txt")
    assert len(key.encode()) <= MAX_BYTES
    assert "/" not in key
    assert "\\" not in key
    assert not any(ord(char) < 32 for char in key)


@settings(deadline=None)
@given(st.text())
def test_making_a_key_safe_twice_changes_nothing_unless_it_was_cut(text):
    key = safe_key(text)
    if "~" not in key:
        assert safe_key(key) == key


@settings(deadline=None)
@given(st.text(), st.text(max_size=60), st.integers(0, 10**12))
def test_a_suffixed_key_never_meets_another_records_own_key(text, other, row):
    assert unique_key(safe_key(text), row) != safe_key(other)


@settings(deadline=None)
@given(keys_of_tars, keys_of_tars, st.integers(0, 99), st.integers(0, 99))
def test_a_suffixed_key_meets_no_key_out_of_a_store_either(key, other, row, other_row):
    tildes = max(suffix_tildes(key), suffix_tildes(other))
    assert unique_key(key, row, tildes) != other
    if row != other_row:
        assert unique_key(key, row, tildes) != unique_key(other, other_row, tildes)


@settings(deadline=None)
@given(st.text(), st.integers(0, 10**6))
def test_a_key_of_a_store_is_left_as_it_is(text, row):
    key = unique_key(safe_key(text), row)
    assert safe_tar_key(key) == key
    assert not escapes_folder(key)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab./\\~\n\0\udce9 "), max_size=12))
def test_a_strangers_key_becomes_one_that_a_tar_of_ours_can_hold(text):
    key = safe_tar_key(text)
    assert key
    assert safe_tar_key(key) == key
    assert not escapes_folder(key)
    assert split_name(f"{key}.txt") == (key, "txt")
    key.encode()


def test_a_folder_with_a_dot_and_a_name_in_latin_1_are_no_way_outside():
    assert safe_tar_key("train.v1/001") == "train_v1/001"
    assert safe_tar_key("caf\udce9") == "caf_"
    assert not escapes_folder("a..b/c")
    assert [escapes_folder(key) for key in ("../a", "/etc/x", "a/../../b", "..\\a")] == [True] * 4


def test_scripts_survive_and_only_what_is_unsafe_changes():
    assert safe_key("小龙虾_0") == "小龙虾_0"
    assert safe_key("v1.2/a~b\x00c") == "v1_2_a_b_c"
    assert safe_key("😀 ok-1") == "😀 ok-1"


def test_long_keys_are_cut_and_stay_distinct():
    first, second = safe_key("x" * 300 + "1"), safe_key("x" * 300 + "2")
    assert first != second
    assert len(first) == MAX_BYTES


def test_a_stem_is_the_file_name_without_its_last_extension():
    assert file_stem("images/a.b.jpg") == "a.b"
    assert file_stem("C:\\pictures\\x.png") == "x"
    assert file_stem("plain") == "plain"


def test_the_order_is_the_same_for_ever():
    assert key_hash("1f600") == "43d5bb7595a1456d"
    assert key_hash("小龙虾_0") == "45ebb26238f9f938"
