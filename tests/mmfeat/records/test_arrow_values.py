import datetime

import pyarrow as pa
import pytest

from mmfeat.records import array_to_python, arrow_values, rows_to_python
from tests.programs import run_python

LATIN_1 = pa.Array.from_buffers(
    pa.string(), 3, pa.array([b"caf\xe9", b"ok", None], pa.binary()).buffers()
)
"""An array of strings with one that is not UTF-8, as a careless Parquet writer makes it."""


def out_of_range(number, kind):
    whole = pa.int32() if kind == pa.date32() else pa.int64()
    return pa.array([number, 0, None], whole).cast(kind)


@pytest.mark.parametrize(
    "array",
    [
        LATIN_1,
        LATIN_1.cast(pa.large_string(), safe=False),
        LATIN_1.dictionary_encode(),
    ],
    ids=lambda array: str(array.type),
)
def test_text_that_is_not_utf8_keeps_its_bytes(array):
    assert array_to_python(array) == ["caf\udce9", "ok", None]
    assert array_to_python(pa.chunked_array([array, array])) == ["caf\udce9", "ok", None] * 2


def test_one_bad_text_inside_another_value_affects_nothing_else():
    struct = pa.StructArray.from_arrays([LATIN_1, pa.array([1, 2, 3])], ["a", "b"])
    assert array_to_python(struct)[:2] == [{"a": "caf\udce9", "b": 1}, {"a": "ok", "b": 2}]
    lists = pa.ListArray.from_arrays([0, 2, 3], LATIN_1)
    assert array_to_python(lists) == [["caf\udce9", "ok"], [None]]
    fixed = pa.FixedSizeListArray.from_arrays(LATIN_1, 3)
    assert array_to_python(fixed) == [["caf\udce9", "ok", None]]
    maps = pa.MapArray.from_arrays([0, 1, 2], pa.array(["k", "l"]), LATIN_1[:2])
    assert array_to_python(maps) == [[("k", "caf\udce9")], [("l", "ok")]]


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (-(10**6), pa.date32(), "-0768-02-04"),
        (-(10**17), pa.timestamp("us"), "-1199-02-15T14:13:20.000000"),
        (-(10**17), pa.timestamp("us", "UTC"), "-1199-02-15T14:13:20.000000+00:00"),
        (1_700_000_000, pa.timestamp("s", "Nowhere/Else"), "2023-11-14T22:13:20+00:00"),
        (2**62, pa.timestamp("s"), f"<value out of range: {2**62}>"),
        (2 * 10**9 * 86_400 + 1, pa.duration("s"), "2000000000 days, 0:00:01"),
        (1 - 2 * 10**10 * 86_400_000, pa.duration("ms"), "-20000000000 days, 0:00:00.001000"),
    ],
    ids=str,
)
def test_times_out_of_the_range_of_python_are_spelt_out(number, kind, text):
    first, _, third = array_to_python(out_of_range(number, kind))
    assert (first, third) == (text, None)


NANOSECONDS = """
import sys
from importlib.abc import MetaPathFinder

class NoPandas(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(name)

if sys.argv[1] == "without pandas":
    sys.meta_path.insert(0, NoPandas())

import pyarrow as pa
from mmfeat.records import array_to_python, key_text, to_json_value

numbers = pa.array([1, 1000, 90_061_000_000_001, -1, -86_400_000_001_000, None], pa.int64())
times = pa.array([1, 1000, 43_200_000_000_001], pa.int64()).cast(pa.time64("ns"))
zones = [None, "UTC", "Europe/Paris", "Asia/Kolkata"]
arrays = [numbers.cast(pa.duration("ns")), times]
arrays += [numbers.cast(pa.timestamp("ns", zone)) for zone in zones]
for array in arrays:
    lists = pa.ListArray.from_arrays([0, len(array)], array)
    structs = pa.StructArray.from_arrays([array], ["a"])
    for every in (array, lists, structs, pa.chunked_array([array]), array[1:2]):
        values = array_to_python(every)
        print(every.type, [to_json_value(value) for value in values], [*map(key_text, values)])
"""


def test_nanoseconds_are_spelt_alike_with_and_without_pandas():
    outputs = [run_python(NANOSECONDS, f"{how} pandas") for how in ("with", "without")]
    assert outputs[0] == outputs[1]
    durations = "'0:00:00.000000001', '0:00:00.000001', '1 day, 1:01:01.000000001'"
    assert durations in outputs[0]
    assert "'-1 day, 23:59:59.999999999', '-2 days, 23:59:59.999999', None" in outputs[0]
    assert "'1970-01-01T01:00:00.000000001+01:00'" in outputs[0]
    assert "'00:00:00.000000001', '00:00:00.000001', '12:00:00.000000001'" in outputs[0]


@pytest.mark.parametrize("number", [0, 1, -1, 999_999, 10**6, 90_061_000_001, -86_400_000_000])
def test_a_duration_that_is_spelt_out_reads_as_in_python(number):
    text = arrow_values._duration_text(number * 1000, 10**9)
    assert text == str(datetime.timedelta(microseconds=number))


def test_good_values_stay_as_they_are():
    day = datetime.date(2024, 2, 29)
    table = pa.table({"s": LATIN_1, "d": [day, None, day], "n": [1.5, 2.0, None]})
    assert rows_to_python(table)[0] == {"s": "caf\udce9", "d": day, "n": 1.5}
    assert rows_to_python(table.to_batches()[0]) == rows_to_python(table)
    assert rows_to_python(table.slice(0, 0)) == []
