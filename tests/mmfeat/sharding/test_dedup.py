import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.media.fetch import ContentReader
from mmfeat.records.media_ref import BytesRef, FileRef, ParquetCellRef, TextRef
from mmfeat.records.record import Record
from mmfeat.sharding.dedup import find_duplicates


def duplicates(shards, **more):
    return dict(find_duplicates(shards, ContentReader(1000), threads=2, **more))


def record(row, content, slot="image", key=None):
    return Record(row, key or f"k{row}", {slot: BytesRef(content)})


@pytest.mark.parametrize("run_bytes", [1, 1 << 20])
def test_the_first_of_the_input_stays_wherever_it_stands_in_the_store(run_bytes):
    contents = [b"a", b"b", b"a", b"c", b"a", b"b"]
    records = [record(row, content) for row, content in enumerate(contents)]
    random.Random(1).shuffle(records)
    found = duplicates([("1", records[:2]), ("0", records[2:])], run_bytes=run_bytes)
    marks = {key: marks for by_key in found.values() for key, marks in by_key.items()}
    assert marks == {
        "k2": [("image", "the same bytes as the image of k0")],
        "k4": [("image", "the same bytes as the image of k0")],
        "k5": [("image", "the same bytes as the image of k1")],
    }
    assert list(found) == sorted(found)


def test_each_slot_is_a_matter_of_its_own_and_texts_are_none():
    records = [
        Record(0, "a", {"image": BytesRef(b"x"), "text": TextRef("t")}),
        Record(
            1, "b", {"image.left": BytesRef(b"x"), "audio": BytesRef(b"x"), "text": TextRef("t")}
        ),
        Record(2, "c", {"image": BytesRef(b"x"), "audio": BytesRef(b"x"), "cls": BytesRef(b"1")}),
        Record(3, "d", {"cls": BytesRef(b"1")}),
    ]
    found = duplicates([("0", records)])["0"]
    assert {key: [slot for slot, _ in marks] for key, marks in found.items()} == {
        "c": ["audio", "image"]
    }


def test_what_cannot_be_read_or_is_known_to_be_bad_is_left_to_sharding():
    records = [
        Record(0, "a", {"image": FileRef("/gone.png")}),
        Record(1, "b", {"image": BytesRef(b"x")}, problems={"image": ("unsafe", "")}),
        Record(2, "c", {"image": BytesRef(b"x")}),
        Record(3, "d", {"image": BytesRef(b"y" * 1001)}),
    ]
    assert duplicates([("0", records)]) == {}


def test_slots_and_keys_out_of_a_strangers_tar_may_hold_anything():
    slots = ["image.caf\udce9", "image.a b", "image.a\tb", "image.a\nb", 'image."']
    records = [record(row, b"x", slot, "k \té") for row, slot in enumerate(slots * 2)]
    found = duplicates([("0", records)], run_bytes=1)["0"]
    assert sorted(slot for slot, _ in found["k \té"]) == sorted(slots)


def test_media_in_a_table_are_compared_too(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"image": pa.array([b"a", b"b", b"a"], pa.binary())}), path)
    records = [
        Record(row, f"k{row}", {"image": ParquetCellRef(path, row, "image")}) for row in (2, 0, 1)
    ]
    assert list(duplicates([("0", records)])["0"]) == ["k2"]
