import csv
from collections import Counter

from mmfeat.cli.quickstart.toyset import COLOURS, DAMAGED_RECORDS, make_toyset


def rows_of(table):
    with table.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_files(tmp_path):
    first, second = (make_toyset(tmp_path / name, records=12, seed=3) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    for path in (tmp_path / "a/pictures").iterdir():
        assert path.read_bytes() == (tmp_path / "b/pictures" / path.name).read_bytes()


def test_the_text_alone_does_not_tell_the_colour(tmp_path):
    rows = rows_of(make_toyset(tmp_path, records=3000, seed=0))
    for side in ("left", "right"):
        labels = Counter(row["label"] for row in rows if side in row["text"])
        assert len(labels) == len(COLOURS)
        assert max(labels.values()) / labels.total() < 0.3


def test_some_records_are_damaged_on_purpose(tmp_path):
    table = make_toyset(tmp_path, records=12)
    missing = [r for r in rows_of(table) if not (tmp_path / r["file_name"]).exists()]
    assert len(missing) == 2
    assert len(rows_of(table)) == 12 + DAMAGED_RECORDS
