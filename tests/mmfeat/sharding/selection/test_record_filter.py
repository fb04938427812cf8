from mmfeat.records.media_ref import TextRef
from mmfeat.records.record import Record
from mmfeat.sharding.selection.record_filter import make_filter

RECORD = Record(3, "k3", {"text": TextRef("words")}, {"width": 300, "none": None})


def test_records_are_looked_up_by_key_or_by_a_column(tmp_path):
    (tmp_path / "keys.txt").write_text("v1.2\n")
    path = str(tmp_path / "keys.txt")
    assert make_filter("", path, "").lookup(RECORD) == "k3"
    assert make_filter("", path, "width").lookup(RECORD) == "300"
    assert make_filter("", path, "none").lookup(RECORD) == ""


def test_keys_are_normalized_and_values_of_a_column_are_not(tmp_path):
    (tmp_path / "keys.txt").write_text("v1.2\n")
    path = str(tmp_path / "keys.txt")
    assert make_filter("", path, "").normalize("v1.2") == "v1_2"
    assert make_filter("", path, "width").normalize("v1.2") == "v1.2"


def test_without_options_all_records_are_kept():
    record_filter = make_filter("", "", "")
    assert (record_filter.condition, record_filter.keys) == (None, None)
