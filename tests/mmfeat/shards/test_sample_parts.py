import sys
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from mmfeat.shards.sample_parts import join_parts
from mmfeat.shards.tar_index import IndexedSample


def part(key, *extensions, **fields):
    return IndexedSample(
        key, {e: (f"{key}.{e}", 512, n) for n, e in enumerate(extensions)}, **fields
    )


def summary(samples):
    return [(sample.key, list(sample.members)) for sample in samples]


def test_parts_of_a_key_are_one_sample_in_the_order_of_first_members():
    parts = [
        part("b", "jpg"),
        part("a", "jpg"),
        part("b", "txt"),
        part("c", "cls"),
        part("a", "txt"),
    ]
    assert summary(join_parts(parts)) == [
        ("b", ["jpg", "txt"]), ("a", ["jpg", "txt"]), ("c", ["cls"]),
    ]  # fmt: skip


def test_repeated_members_make_further_samples_of_the_key():
    names = ("jpg", "jpg", "txt", "jpg", "txt")
    parts = [p for name in names for p in (part("a", name), part("b"))]
    joined = [sample for sample in join_parts(parts) if sample.key == "a"]
    assert summary(joined) == [("a", ["jpg", "txt"]), ("a", ["jpg", "txt"]), ("a", ["jpg"])]


def test_all_fields_are_joined():
    first = part("a\n\udce9", "cls", labels={"cls": b"\xff\n"}, metadata_json=b"\xfe{\n")
    second = part("a\n\udce9", "id", labels={"id": b"1"}, problems={"jpg": ("unsafe", "a link")})
    (sample,) = join_parts([first, second])
    assert sample.key == "a\n\udce9"
    assert sample.metadata_json == b"\xfe{\n"
    assert sample.labels == {"cls": b"\xff\n", "id": b"1"}
    assert sample.problems == {"jpg": ("unsafe", "a link")}
    assert sample.members == first.members | second.members


def test_two_json_documents_are_two_samples():
    parts = [part("a", "txt", metadata_json=b"{}"), part("b"), part("a", metadata_json=b"[]")]
    joined = [sample.metadata_json for sample in join_parts(parts) if sample.key == "a"]
    assert joined == [b"{}", b"[]"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["jpg", "txt", "cls"]))))
def test_no_member_is_lost(members):
    parts = [
        IndexedSample(key, {extension: ("", place, 1)})
        for place, (key, extension) in enumerate(members)
    ]
    joined = list(join_parts(parts, run_bytes=200))
    places = sorted(place for sample in joined for _, place, _ in sample.members.values())
    assert places == list(range(len(members)))
    firsts = [min(place for _, place, _ in sample.members.values()) for sample in joined]
    assert firsts == sorted(firsts)


def test_memory_does_not_grow_with_the_number_of_parts(monkeypatch):
    monkeypatch.setattr(sys.modules["mmfeat.system.external_sort"], "_BLOCK_BYTES", 1000)

    def peak(number, key):
        parts = (part(key(n), "jpg" if n < number // 2 else "txt") for n in range(number))
        tracemalloc.start()
        count = sum(1 for _ in join_parts(parts, run_bytes=50_000))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return count, used

    for key in (lambda n: f"k{n % 1000}", lambda n: "one"):
        peak(2000, key)
        (_, small), (count, large) = peak(2000, key), peak(8000, key)
        assert count >= 1000
        assert large < 2 * small
