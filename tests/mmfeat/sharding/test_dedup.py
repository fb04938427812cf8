import hashlib
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import RecordError
from mmfeat.media.fetch import MediaFetcher
from mmfeat.records.media_ref import BytesRef, FileRef, ParquetCellRef, TextRef
from mmfeat.records.record import Record
from mmfeat.sharding.dedup import KeptMedium, find_duplicates, mark_duplicates
from mmfeat.sharding.shard_plan import ShardLayout, read_planned_records, write_plan

FETCHER = MediaFetcher(1000)


def duplicates(shards, **options):
    return dict(find_duplicates(shards, FETCHER, threads=2, **options))


def make_record(row, content, slot="image", key=None):
    return Record(row, key or f"k{row}", {slot: BytesRef(content)})


@pytest.mark.parametrize("run_bytes", [1, 1 << 20])
def test_the_first_record_of_the_input_keeps_its_media(run_bytes):
    contents = [b"a", b"b", b"a", b"c", b"a", b"b"]
    records = [make_record(row, content) for row, content in enumerate(contents)]
    random.Random(1).shuffle(records)
    by_shard = duplicates([("1", records[:2]), ("0", records[2:])], run_bytes=run_bytes)
    assert {key: slots for by_key in by_shard.values() for key, slots in by_key.items()} == {
        "k2": {"image": ("duplicate", "the same bytes as the image of k0")},
        "k4": {"image": ("duplicate", "the same bytes as the image of k0")},
        "k5": {"image": ("duplicate", "the same bytes as the image of k1")},
    }
    assert list(by_shard) == sorted(by_shard)


def test_media_of_different_slots_and_texts_are_no_duplicates():
    records = [
        Record(0, "a", {"image": BytesRef(b"x"), "text": TextRef("t")}),
        Record(
            1, "b", {"image.left": BytesRef(b"x"), "audio": BytesRef(b"x"), "text": TextRef("t")}
        ),
        Record(2, "c", {"image": BytesRef(b"x"), "audio": BytesRef(b"x"), "cls": BytesRef(b"1")}),
        Record(3, "d", {"cls": BytesRef(b"1")}),
    ]
    by_key = duplicates([("0", records)])["0"]
    assert {key: list(slots) for key, slots in by_key.items()} == {"c": ["audio", "image"]}


def test_media_that_other_records_have_are_duplicates():
    digests = {content: hashlib.sha256(content).hexdigest() for content in (b"a", b"b", b"c")}
    kept = [
        KeptMedium(9, "k9", "image", digests[b"a"]),
        KeptMedium(1, "k1", "image", digests[b"b"]),
        KeptMedium(5, "k5", "audio", digests[b"c"]),
    ]
    records = [make_record(row, content) for row, content in enumerate([b"a", b"b", b"c", b"c"])]
    assert duplicates([("0", records)], kept=kept)["0"] == {
        "k0": {"image": ("duplicate", "the same bytes as the image of k9")},
        "k3": {"image": ("duplicate", "the same bytes as the image of k2")},
    }


def test_media_that_cannot_be_read_now_are_unavailable(monkeypatch):
    def fail(self, ref):
        raise RecordError("unavailable", "HTTP 503")

    monkeypatch.setattr(MediaFetcher, "fetch", fail)
    records = [make_record(row, b"a") for row in range(2)]
    assert duplicates([("0", records)])["0"] == {
        key: {"image": ("unavailable", "HTTP 503")} for key in ("k0", "k1")
    }


def test_unreadable_media_and_known_problems_are_skipped():
    records = [
        Record(0, "a", {"image": FileRef("/gone.png")}),
        Record(1, "b", {"image": BytesRef(b"x")}, problems={"image": ("unsafe", "")}),
        Record(2, "c", {"image": BytesRef(b"x")}),
        Record(3, "d", {"image": BytesRef(b"y" * 1001)}),
    ]
    assert duplicates([("0", records)]) == {}


def test_slots_and_keys_may_contain_any_character():
    slots = ["image.caf\udce9", "image.a b", "image.a\tb", "image.a\nb", 'image."']
    records = [make_record(row, b"x", slot, "k \té") for row, slot in enumerate(slots * 2)]
    by_key = duplicates([("0", records)], run_bytes=1)["0"]
    assert sorted(by_key["k \té"]) == sorted(slots)


def test_media_in_parquet_tables_are_compared(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"image": pa.array([b"a", b"b", b"a"], pa.binary())}), path)
    records = [
        Record(row, f"k{row}", {"image": ParquetCellRef(path, row, "image")}) for row in (2, 0, 1)
    ]
    assert list(duplicates([("0", records)])["0"]) == ["k2"]


def test_duplicates_are_marked_in_the_plan(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    records = [Record(i, n, {"image": FileRef(f"{tmp_path}/{n}.png")}) for i, n in enumerate("ab")]
    folder = str(tmp_path)
    plan = write_plan(records, folder, ShardLayout(1, shuffle="none"))
    plan = mark_duplicates(plan, folder, FETCHER, threads=1)
    first, second = (read_planned_records(folder, s.name, s.piece)[0] for s in plan.shards)
    assert first.problems == {}
    assert second.problems == {"image": ("duplicate", "the same bytes as the image of a")}
