import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat import storage
from mmfeat.errors import MmfeatError
from mmfeat.keys import order_of
from mmfeat.plan import make_plan, read_plan
from mmfeat.sample import Part, Record


def records(keys):
    return [Record(row, key, {"text": Part(value=key)}, {"n": row}) for row, key in enumerate(keys)]


def plan_of(folder, keys, *, size=4, run=100_000, same_key=None):
    plan = make_plan(
        records(keys), folder, config_hash="h", samples_per_shard=size, same_key=same_key, run=run
    )
    return plan, [record for shard in plan.shards for record in read_plan(folder, shard)]


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)),
    run=st.integers(1, 9),
)
def test_every_record_is_planned_once_under_a_key_of_its_own(tmp_path_factory, keys, run):
    folder = str(tmp_path_factory.mktemp("plan"))
    if not keys:
        with pytest.raises(MmfeatError, match="no records"):
            plan_of(folder, keys)
        return
    plan, planned = plan_of(folder, keys, run=run)
    assert sorted(record.row for record in planned) == list(range(len(keys)))
    assert len({record.key for record in planned}) == len(keys)
    assert plan.records == len(keys)
    for record in planned:
        expected = keys[record.row]
        assert record.parts["text"].value == expected
        unique = expected and keys.count(expected) == 1
        assert record.key == (expected if unique else f"{expected or 'row'}~{record.row}")


def test_the_plan_does_not_depend_on_how_much_was_sorted_at_a_time(tmp_path):
    keys = [f"k{random.Random(i).random()}" for i in range(500)]
    _, whole = plan_of(str(tmp_path / "a"), keys, size=64)
    _, spilled = plan_of(str(tmp_path / "b"), keys, size=64, run=7)
    assert whole == spilled
    assert [order_of(record.key) for record in whole] == sorted(map(order_of, keys))


def test_shards_are_full_but_the_last(tmp_path):
    plan, _ = plan_of(str(tmp_path), [f"k{i}" for i in range(10)], size=4)
    assert plan.shards == {"00000": 4, "00001": 4, "00002": 2}


def test_shared_keys_are_refused_where_asked(tmp_path):
    def refuse(first, second):
        raise MmfeatError(f"{first.row} and {second.row}")

    with pytest.raises(MmfeatError, match="0 and 2"):
        plan_of(str(tmp_path), ["a", "b", "a"], same_key=refuse)


def test_a_finished_plan_is_read_and_an_unfinished_one_is_made_again(tmp_path):
    folder = str(tmp_path)
    plan, _ = plan_of(folder, ["a", "b"])
    again = make_plan(iter(()), folder, config_hash="h", samples_per_shard=4)
    assert again == plan
    storage.remove(storage.join(folder, "_plan", "plan.json"))
    with pytest.raises(MmfeatError, match="no records"):
        make_plan(iter(()), folder, config_hash="h", samples_per_shard=4)


def test_a_file_name_that_is_not_utf8_survives_the_plan(tmp_path):
    record = Record(0, "k", {"image": Part(path="caf\udce9.png")})
    make_plan([record], str(tmp_path), config_hash="h", samples_per_shard=1)
    assert read_plan(str(tmp_path), "00000")[0].parts["image"].path == "caf\udce9.png"


def test_memory_does_not_grow_with_the_number_of_records(tmp_path):
    def peak(number):
        stream = (Record(i, f"key{i}", {}, {"text": "x" * 200}) for i in range(number))
        tracemalloc.start()
        make_plan(
            stream, str(tmp_path / str(number)), config_hash="h", samples_per_shard=500, run=2000
        )
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(100)
    assert peak(40_000) < 2 * peak(4_000)
