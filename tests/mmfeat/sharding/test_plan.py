import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.records.keys import key_hash
from mmfeat.records.media_ref import Base64Ref, FileRef, ParquetCellRef, TarMemberRef, TextRef
from mmfeat.records.record import Record
from mmfeat.sharding.plan import (
    Layout,
    amend_plan,
    make_plan,
    planned_shards,
    read_plan,
    remove_plan,
)
from mmfeat.sharding.record_filter import Choice
from mmfeat.sharding.selection import Condition
from mmfeat.store import files


def records(keys, sizes=()):
    sizes = list(sizes) or [1] * len(keys)
    return [
        Record(row, key, {"image": FileRef(f"{key}.png", size)}, {"n": row})
        for row, (key, size) in enumerate(zip(keys, sizes, strict=True))
    ]


def plan_of(folder, some, layout=None, **more):
    plan = make_plan(some, str(folder), config_hash="h", layout=layout or Layout(4), **more)
    return plan, [read_plan(str(folder), shard) for shard in plan.shards]


def flat(shards):
    return [record for shard in shards for record in shard]


layouts = st.builds(
    Layout, st.integers(1, 5), st.none() | st.integers(1, 9000), st.sampled_from(["hash", "none"])
)
records_of_any_kind = st.lists(
    st.tuples(
        st.text(st.sampled_from("ab~1 é"), max_size=4), st.none() | st.integers(0, 5000)
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(given_records=records_of_any_kind, layout=layouts, run_bytes=st.integers(1, 2000))
def test_every_record_is_planned_once_under_a_key_of_its_own(
    tmp_path_factory, given_records, layout, run_bytes
):
    folder = tmp_path_factory.mktemp("plan")
    keys = [key for key, _ in given_records]
    some = records(keys, [size for _, size in given_records])
    plan, shards = plan_of(folder / "a", some, layout, run_bytes=run_bytes)
    planned = flat(shards)
    assert {record.row: replace(record, key="") for record in planned} == {
        record.row: replace(record, key="") for record in some
    }
    assert len({record.key for record in planned}) == len(planned) == len(some) == plan.records
    assert all(r.key == keys[r.row] for r in planned if keys.count(keys[r.row] or r.key) == 1)
    if layout.shuffle == "none":
        assert [record.row for record in planned] == list(range(len(some)))
    for shard, facts in zip(shards, plan.shards.values(), strict=True):
        assert 0 < len(shard) <= layout.samples
        assert len(shard) == 1 or not layout.bytes or facts.bytes <= layout.bytes
    assert plan_of(folder / "b", some, layout) == (plan, shards)


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.text(st.sampled_from('ab"\\\t\n é'), max_size=2), min_size=1, max_size=9),
    wanted=st.lists(st.text(st.sampled_from('abc"\\\t\n é'), max_size=2), max_size=9),
    run_bytes=st.integers(1, 500),
    fold=st.sampled_from([str.lower, lambda key: key.replace("b", "a"), lambda key: key]),
)
def test_of_the_keys_those_that_are_wanted_are_planned_and_no_others(
    tmp_path_factory, keys, wanted, run_bytes, fold
):
    folder = tmp_path_factory.mktemp("plan")
    choice = Choice(keys=((key, "") for key in wanted), fold=fold)
    options = {"choice": choice, "run_bytes": run_bytes}
    found = {*wanted, *map(fold, wanted)}
    expected = [row for row, key in enumerate(keys) if key in found]
    if not expected:
        with pytest.raises(MmfeatError, match=f"none of the {len(keys)} records"):
            plan_of(folder, records(keys), **options)
        return
    plan, shards = plan_of(folder, records(keys), **options)
    assert sorted(record.row for record in flat(shards)) == expected
    assert (plan.read, plan.records) == (len(keys), len(expected))
    assert plan.absent == sum(not {key, fold(key)} & {*keys} for key in {*wanted})


def test_records_are_looked_up_by_what_they_are_asked_for_and_take_the_new_key(tmp_path):
    choice = Choice(keys=[("2", "new"), ("0", "")], key_of=lambda record: str(record.row))
    _, shards = plan_of(tmp_path, records(["a", "b", "c"]), Layout(4, first=7), choice=choice)
    assert {record.row: record.key for record in flat(shards)} == {0: "a", 2: "new"}
    assert planned_shards(str(tmp_path)) == ["00007"]


def test_the_order_is_that_of_the_keys_hash(tmp_path):
    _, shards = plan_of(tmp_path, records([f"k{i}" for i in range(50)]), Layout(64))
    orders = [key_hash(record.key) for record in flat(shards)]
    assert orders == sorted(orders)


def test_shards_are_full_but_the_last_and_named_by_the_pattern(tmp_path):
    plan, _ = plan_of(tmp_path, records("abcdefghij"), Layout(4, name="part-%03d"))
    assert {name: shard.records for name, shard in plan.shards.items()} == {
        "part-000": 4, "part-001": 4, "part-002": 2,
    }  # fmt: skip


def test_keys_of_a_store_that_look_like_suffixed_ones_are_met_by_none(tmp_path):
    _, shards = plan_of(tmp_path, records(["a~2", "a", "a"]), Layout(9, shuffle="none"))
    assert [record.key for record in flat(shards)] == ["a~2", "a~~1", "a~~2"]


def test_shared_keys_are_refused_where_asked_and_empty_ones_are_not(tmp_path):
    def refuse(first, second):
        raise MmfeatError(f"{first.row} and {second.row}")

    with pytest.raises(MmfeatError, match="0 and 2"):
        plan_of(tmp_path, records(["a", "b", "a"]), choice=Choice(same_key=refuse))
    _, shards = plan_of(tmp_path, records(["", "b", ""]), choice=Choice(same_key=refuse))
    assert {record.key for record in flat(shards)} == {"row~0", "b", "row~2"}


def test_the_census_says_what_is_known_before_anything_is_read(tmp_path):
    some = [
        Record(0, "a", {"image": FileRef("a.png", 10), "text": TextRef("é")}, {"n": 1, "s": None}),
        Record(1, "b", {"image": FileRef("b.png")}, {"n": 1.5}),
        Record(2, "c", problems={"": ("malformed_row", "line 3")}),
    ]
    plan, _ = plan_of(tmp_path, some, slots=("image", "text"))
    assert plan.lacks == {"": 1, "image, text": 1, "text": 1}
    assert plan.problems == {"malformed_row": 1}
    assert (plan.unsized, plan.bytes) == (1, 10 + 2 + 3 * 1024)
    assert plan.columns == {"n": "float64", "s": "string"}


def test_a_condition_over_a_column_that_no_record_has_is_refused(tmp_path):
    _, shards = plan_of(tmp_path / "a", records(["a", "b"]), choice=Choice(Condition("n > 0")))
    assert [record.key for record in flat(shards)] == ["b"]
    with pytest.raises(MmfeatError, match="no record has this one; got 'm'"):
        plan_of(tmp_path / "b", records(["a", "b"]), choice=Choice(Condition("m > 0")))


def test_a_finished_plan_is_read_and_an_unfinished_one_is_made_again(tmp_path):
    plan, shards = plan_of(tmp_path, records(["a", "b"]))
    assert plan_of(tmp_path, iter(())) == (plan, shards)
    with pytest.raises(MmfeatError, match="no records"):
        make_plan(iter(()), str(tmp_path), config_hash="other", layout=Layout(4))
    plan_of(tmp_path, records(["a", "b"]))
    files.remove(files.join(str(tmp_path), "_plan", "plan.json"))
    with pytest.raises(MmfeatError, match="no records"):
        plan_of(tmp_path, iter(()))
    plan_of(tmp_path, records(["a", "b"]))
    remove_plan(str(tmp_path))
    assert planned_shards(str(tmp_path)) == []


def test_a_plan_is_amended_before_it_counts_as_finished(tmp_path):
    def amend(folder):
        assert not files.exists(files.join(folder, "_plan", "plan.json"))
        marks = {"b": [("image", "as a"), ("audio", "as c")]}
        amend_plan(folder, "00000", marks, "duplicate")

    some = records(["a", "b"])
    some[1] = replace(some[1], problems={"text": ("missing", "")})
    _, (shard,) = plan_of(tmp_path, some, amend=amend)
    by_key = {record.key: record for record in shard}
    assert by_key["a"] == some[0]
    assert by_key["b"] == replace(
        some[1],
        problems={
            "text": ("missing", ""),
            "image": ("duplicate", "as a"),
            "audio": ("duplicate", "as c"),
        },
    )


def test_parts_of_every_form_survive_the_plan_names_that_are_not_utf8_too(tmp_path):
    parts = {
        "image": FileRef("caf\udce9.png", 3),
        "image.left": TarMemberRef("a.tar", "caf\udce9.png", 512, 9),
        "image.right": ParquetCellRef("t.parquet", 3, "image", "x.png", "/x.png"),
        "audio": Base64Ref("AAAA"),
        "text": TextRef('tab\tline\n"quote" é'),
    }
    record = Record(0, 'k"\\ é', parts, {'col\t"': ["x\n", None]}, {"json": ("empty", "\udce9")})
    assert plan_of(tmp_path, [record])[1] == [[record]]


def test_the_plan_does_not_depend_on_how_much_was_sorted_at_a_time(tmp_path):
    some = records([f"k{random.Random(i).randrange(300)}" for i in range(500)])
    whole = plan_of(tmp_path / "a", some, Layout(64))
    assert plan_of(tmp_path / "b", some, Layout(64), run_bytes=2000) == whole


def test_memory_does_not_grow_with_the_number_of_records(tmp_path):
    def peak(number):
        stream = (Record(i, f"key{i}", {}, {"text": "x" * 200}) for i in range(number))
        tracemalloc.start()
        make_plan(
            stream,
            str(tmp_path / str(number)),
            config_hash="h",
            layout=Layout(500, shuffle="none"),
            choice=Choice(keys=((f"key{i}", "") for i in range(number))),
            run_bytes=500_000,
        )
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(100)
    assert peak(12_000) < 2 * peak(3_000)
