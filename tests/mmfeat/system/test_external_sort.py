import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.system.external_sort import external_sort

lines = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"\n"))


@settings(deadline=None)
@given(lines, st.integers(1, 2000))
def test_lines_are_sorted_for_any_run_size(given_lines, run_bytes):
    assert list(external_sort(iter(given_lines), run_bytes)) == sorted(given_lines)


def test_lines_longer_than_a_block_are_sorted():
    long = [bytes([letter]) * 200_000 + b"\n" for letter in b"cab"]
    assert list(external_sort(long, 1)) == sorted(long)


def test_memory_is_bounded_by_the_run_size():
    stream = (b"%0200d\n" % (number * 7919 % 100_000) for number in range(60_000))
    tracemalloc.start()
    last = b""
    for line in external_sort(stream, 1_000_000):
        assert line > last
        last = line
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000
