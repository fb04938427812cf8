import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.records.keys import key_hash
from mmfeat.records.media_ref import Base64Ref, FileRef, ParquetCellRef, TarMemberRef, TextRef
from mmfeat.records.problems import EarlierRow
from mmfeat.records.record import Record
from mmfeat.sharding.plan_codec import dump_record, load_record
from mmfeat.sharding.selection.condition import Condition
from mmfeat.sharding.selection.record_filter import RecordFilter
from mmfeat.sharding.shard_plan import (
    ShardLayout,
    add_problems,
    commit_plan,
    read_plan,
    read_planned_records,
    remove_plan,
    write_plan,
)
from mmfeat.storage import files


def make_records(keys, sizes=()):
    sizes = list(sizes) or [1] * len(keys)
    return [
        Record(row, key, {"image": FileRef(f"{key}.png", size)}, {"n": row})
        for row, (key, size) in enumerate(zip(keys, sizes, strict=True))
    ]


def make_plan(folder, records, layout=None, **options):
    """Return the plan and the records of each shard."""
    plan = write_plan(records, str(folder), layout or ShardLayout(4), **options)
    return plan, read_shards(plan, folder)


def read_shards(plan, folder):
    return [read_planned_records(str(folder), s.name, s.piece) for s in plan.shards]


def flatten(shards):
    return [record for shard in shards for record in shard]


layouts = st.builds(
    ShardLayout,
    st.integers(1, 5),
    st.none() | st.integers(1, 9000),
    st.sampled_from(["hash", "none"]),
)
keys_and_sizes = st.lists(
    st.tuples(
        st.text(st.sampled_from("ab~1 é"), max_size=4), st.none() | st.integers(0, 5000)
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(keys_and_sizes=keys_and_sizes, layout=layouts, run_bytes=st.integers(1, 2000))
def test_every_record_is_planned_once_under_a_unique_key(
    tmp_path_factory, keys_and_sizes, layout, run_bytes
):
    folder = tmp_path_factory.mktemp("plan")
    keys = [key for key, _ in keys_and_sizes]
    records = make_records(keys, [size for _, size in keys_and_sizes])
    plan, shards = make_plan(folder / "a", records, layout, run_bytes=run_bytes)
    planned = flatten(shards)
    assert {record.row: replace(record, key="") for record in planned} == {
        record.row: replace(record, key="") for record in records
    }
    assert len({record.key for record in planned}) == len(planned) == len(records) == plan.records
    assert all(r.key == keys[r.row] for r in planned if keys.count(keys[r.row] or r.key) == 1)
    if layout.shuffle == "none":
        assert [record.row for record in planned] == list(range(len(records)))
    for shard, size in zip(shards, plan.shards, strict=True):
        assert 0 < len(shard) <= layout.max_records
        assert len(shard) == 1 or not layout.max_bytes or size.bytes <= layout.max_bytes
    assert make_plan(folder / "b", records, layout) == (plan, shards)


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.text(st.sampled_from('ab"\\\t\n é'), max_size=2), min_size=1, max_size=9),
    listed=st.lists(st.text(st.sampled_from('abc"\\\t\n é'), max_size=2), max_size=9),
    run_bytes=st.integers(1, 500),
    normalize=st.sampled_from([str.lower, lambda key: key.replace("b", "a"), lambda key: key]),
)
def test_only_records_with_a_listed_key_are_planned(
    tmp_path_factory, keys, listed, run_bytes, normalize
):
    folder = tmp_path_factory.mktemp("plan")
    record_filter = RecordFilter(keys=((key, "") for key in listed), normalize=normalize)
    options = {"record_filter": record_filter, "run_bytes": run_bytes}
    forms = {*listed, *map(normalize, listed)}
    expected = [row for row, key in enumerate(keys) if key in forms]
    if not expected:
        with pytest.raises(MmfeatError, match=f"none of the {len(keys)} records"):
            make_plan(folder, make_records(keys), **options)
        return
    plan, shards = make_plan(folder, make_records(keys), **options)
    assert sorted(record.row for record in flatten(shards)) == expected
    assert (plan.input_records, plan.records) == (len(keys), len(expected))
    assert plan.absent_keys == sum(not {key, normalize(key)} & {*keys} for key in {*listed})


def test_a_filter_may_look_up_rows_and_add_earlier_ones(tmp_path):
    earlier = EarlierRow("new", "partial", "image:unavailable", 'image:unavailable: "HTTP\t503"\n')
    record_filter = RecordFilter(keys=[("2", earlier), ("0", None)], lookup=lambda r: str(r.row))
    layout = ShardLayout(4, first_index=7)
    plan, shards = make_plan(
        tmp_path, make_records(["a", "b", "c"]), layout, record_filter=record_filter
    )
    records = {record.row: record for record in flatten(shards)}
    assert {row: record.key for row, record in records.items()} == {0: "a", 2: "new"}
    assert (records[0].earlier, records[2].earlier) == (None, earlier)
    assert dump_record(records[2]).count(b"\n") == 1
    assert load_record(dump_record(records[2])) == records[2]
    assert [shard.name for shard in plan.shards] == ["00007"]


def test_records_are_sorted_by_the_hash_of_their_key(tmp_path):
    _, shards = make_plan(tmp_path, make_records([f"k{i}" for i in range(50)]), ShardLayout(64))
    hashes = [key_hash(record.key) for record in flatten(shards)]
    assert hashes == sorted(hashes)


def test_all_shards_but_the_last_are_full(tmp_path):
    layout = ShardLayout(4, name_pattern="part-%03d")
    plan, _ = make_plan(tmp_path, make_records("abcdefghij"), layout)
    assert {shard.name: shard.records for shard in plan.shards} == {
        "part-000": 4, "part-001": 4, "part-002": 2,
    }  # fmt: skip


def test_new_suffixes_differ_from_those_in_the_input(tmp_path):
    layout = ShardLayout(9, shuffle="none")
    _, shards = make_plan(tmp_path, make_records(["a~2", "a", "a"]), layout)
    assert [record.key for record in flatten(shards)] == ["a~2", "a~~1", "a~~2"]


def test_shared_keys_can_be_refused_and_empty_ones_cannot(tmp_path):
    with pytest.raises(MmfeatError, match="rows 0 and 2 of the input"):
        make_plan(tmp_path, make_records(["a", "b", "a"]), refuse_duplicate_keys=True)
    _, shards = make_plan(tmp_path, make_records(["", "b", ""]), refuse_duplicate_keys=True)
    assert {record.key for record in flatten(shards)} == {"row~0", "b", "row~2"}


def test_statistics_of_a_plan(tmp_path):
    records = [
        Record(0, "a", {"image": FileRef("a.png", 10), "text": TextRef("é")}, {"n": 1, "s": None}),
        Record(1, "b", {"image": FileRef("b.png")}, {"n": 1.5}),
        Record(2, "c", problems={"": ("malformed_row", "line 3")}),
    ]
    plan, _ = make_plan(tmp_path, records, slots=("image", "text"))
    assert plan.missing_slots == {"": 1, "image, text": 1, "text": 1}
    assert plan.problems == {"malformed_row": 1}
    assert (plan.unknown_sizes, plan.bytes) == (1, 10 + 2 + 3 * 1024)
    assert plan.columns == {"n": "float64", "s": "string"}


def test_a_condition_on_an_unknown_column_is_refused(tmp_path):
    records = make_records(["a", "b"])
    _, shards = make_plan(tmp_path / "a", records, record_filter=RecordFilter(Condition("n > 0")))
    assert [record.key for record in flatten(shards)] == ["b"]
    with pytest.raises(MmfeatError, match=r"no record has this one; got .m.\. Columns: key, n"):
        make_plan(tmp_path / "b", records, record_filter=RecordFilter(Condition("m > 0")))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("price > 100", "price has texts that are no numbers, such as '225,76'. If the comma"),
        ("n < 0 or not (price == 5 and n > 0)", "such as '225,76'. If .* write 225.76$"),
        ("name > 100", "name has texts that are no numbers, such as 'cat'$"),
        ("n > 100", "Check the path and the flags that select records"),
    ],
)
def test_texts_that_no_number_compares_with_are_shown_if_nothing_is_selected(
    condition, message, tmp_path
):
    records = [Record(0, "a", {"text": TextRef("a")}, {"price": "225,76", "name": "cat", "n": 1})]
    with pytest.raises(MmfeatError, match=message):
        make_plan(tmp_path, records, record_filter=RecordFilter(Condition(condition)))


def test_a_plan_is_read_only_if_committed_for_the_configuration(tmp_path):
    folder = str(tmp_path)
    plan, _ = make_plan(folder, make_records(["a", "b"]), slots=("image", "text"))
    assert read_plan(folder, "h") is None
    commit_plan(plan, folder, "h")
    assert read_plan(folder, "h") == plan
    assert read_plan(folder, "other") is None
    remove_plan(folder)
    assert read_plan(folder, "h") is None
    assert not (tmp_path / "_plan").exists()


def test_the_names_in_plan_json_do_not_change(tmp_path):
    plan, _ = make_plan(tmp_path, make_records(["a"]))
    commit_plan(plan, str(tmp_path), "h")
    assert list(files.read_json(files.join(str(tmp_path), "_plan", "plan.json"))) == [
        "config_hash", "index", "shards", "columns", "lacks", "problems", "unsized", "read",
        "absent",
    ]  # fmt: skip


def test_a_new_plan_replaces_the_old_one(tmp_path):
    plan, _ = make_plan(tmp_path, make_records("abcdef"))
    commit_plan(plan, str(tmp_path), "h")
    with pytest.raises(MmfeatError, match="the input holds no records"):
        make_plan(tmp_path, [])
    assert read_plan(str(tmp_path), "h") is None
    assert not (tmp_path / "_plan").exists()


def test_problems_are_added_to_a_planned_shard(tmp_path):
    records = make_records(["a", "b"])
    records[1] = replace(records[1], problems={"text": ("missing", "")})
    plan, _ = make_plan(tmp_path, records, ShardLayout(1, shuffle="none"))
    duplicates = {"image": ("duplicate", "as a"), "audio": ("duplicate", "as c")}
    plan = add_problems(plan, str(tmp_path), [("00001", {"b": duplicates})])
    by_key = {record.key: record for record in flatten(read_shards(plan, tmp_path))}
    assert by_key["a"] == records[0]
    expected = replace(records[1], problems={"text": ("missing", ""), **duplicates})
    assert by_key["b"] == expected
    assert list(by_key["b"].problems) == ["text", "image", "audio"]


def test_all_references_survive_the_plan_with_names_that_are_not_utf8(tmp_path):
    media = {
        "image": FileRef("caf\udce9.png", 3),
        "image.left": TarMemberRef("a.tar", "caf\udce9.png", 512, 9),
        "image.right": ParquetCellRef("t.parquet", 3, "image", "x.png", "/x.png"),
        "audio": Base64Ref("AAAA"),
        "text": TextRef('tab\tline\n"quote" é'),
    }
    record = Record(0, 'k"\\ é', media, {'col\t"': ["x\n", None]}, {"json": ("empty", "\udce9")})
    assert make_plan(tmp_path, [record])[1] == [[record]]


def test_the_plan_does_not_depend_on_the_memory_of_the_sort(tmp_path):
    records = make_records([f"k{random.Random(i).randrange(300)}" for i in range(500)])
    plan = make_plan(tmp_path / "a", records, ShardLayout(64))
    assert make_plan(tmp_path / "b", records, ShardLayout(64), run_bytes=2000) == plan


def test_memory_does_not_grow_with_the_number_of_records(tmp_path):
    def peak(number):
        stream = (Record(i, f"key{i}", {}, {"text": "x" * 200}) for i in range(number))
        tracemalloc.start()
        write_plan(
            stream,
            str(tmp_path / str(number)),
            ShardLayout(500, shuffle="none"),
            record_filter=RecordFilter(keys=((f"key{i}", "") for i in range(number))),
            run_bytes=500_000,
        )
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(100)
    assert peak(12_000) < 2 * peak(3_000)
