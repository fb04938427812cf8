import csv
from collections import Counter

import pytest
from PIL import Image

from mmfeat.cli.quickstart.toyset import COLOURS, DAMAGED_RECORDS, SHARES, make_toyset


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


def test_each_record_is_told_by_what_its_row_says(tmp_path):
    rows = rows_of(make_toyset(tmp_path, records=600))[:600]
    counts = Counter(row["told_by"] for row in rows)
    assert {name: count / 600 for name, count in counts.items()} == pytest.approx(SHARES, abs=0.06)
    for row in rows:
        has_colour = bool(row["file_name"]) and _is_coloured(tmp_path / row["file_name"])
        names_colour = row["label"] in row["text"]
        assert bool(row["file_name"]) == (row["told_by"] != "no image")
        assert bool(row["text"]) == (row["told_by"] != "no text")
        assert names_colour == (row["told_by"] in ("text", "no image"))
        assert has_colour == (row["told_by"] in ("both", "image", "no text"))


def _is_coloured(path):
    with Image.open(path) as image:
        return image.mode == "RGB" and image.convert("HSV").getextrema()[1][1] > 99


def test_all_splits_have_records_of_each_kind(tmp_path):
    rows = rows_of(make_toyset(tmp_path))
    kinds = {(row["split"], row["told_by"]) for row in rows}
    assert kinds == {(split, kind) for split in ("train", "val", "test") for kind in SHARES}
