import random
import tarfile
import time
import tracemalloc
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import RecordError
from mmfeat.records import REASONS
from mmfeat.shards.tar_index import index_tar
from tests.mmfeat.shards.tar_bytes import END, padded, pax_header, tar_member, with_size_field
from tests.programs import run_python

HOSTILE = {
    "a size of gigabytes": with_size_field(pax_header({"a": "b"})[:512], b"%011o\0" % (3 << 30))
    + b"\0" * 9999,
    "a long name of gigabytes": with_size_field(
        tar_member("././@LongLink", b"", b"L")[:512], b"%011o\0" % (7 << 30)
    )
    + b"x" * 9999,
    "a negative size": pax_header({"size": "-2048"}) + tar_member("b.txt") + END,
    "a size that leads back": pax_header({"size": "-1536"}) + tar_member("b.txt") + END,
    "a negative size in base 256": with_size_field(
        tar_member("b.txt"), b"\xff" * 10 + b"\xf8\0"
    ) + END,
    "a size beyond all files": with_size_field(tar_member("b.txt"), b"\x80" + b"\xff" * 11) + END,
    "a size of too many digits": pax_header({"size": "9" * 5000}) + tar_member("b.txt") + END,
    "headers of headers": pax_header({"a": "b"}) * 900 + tar_member("b.txt") + END,
    "names of names": tar_member("././@LongLink", b"x", b"L") * 900 + tar_member("b.txt") + END,
    "an endless sparse map": pax_header({"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                         "GNU.sparse.realsize": "9", "GNU.sparse.name": "s.txt"})
    + tar_member("s.txt", b"100000000\n" + b"1\n" * 2_000_000) + END,
    "attributes of all members": b"".join(
        pax_header({f"{i}-{j}": "" for j in range(900)}, tarfile.XGLTYPE) for i in range(5)
    ) + tar_member("b.txt") + END,
    "no length": padded(pax_header({"a": "b"})[:512] + b"0 a=b\n") + tar_member("b.txt") + END,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_costs_little_time_and_memory(index, name):
    content = tar_member("a.txt") + HOSTILE[name]
    start = time.monotonic()
    tracemalloc.start()
    samples, error, _ = index(content)
    peak = tracemalloc.get_traced_memory()[1] - len(content)
    tracemalloc.stop()
    assert samples[0].key == "a"
    assert error or any(sample.problems for sample in samples)
    assert all(size >= 0 for s in samples for _, _, size in s.members.values())
    assert peak < 10_000_000
    assert time.monotonic() - start < 30


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=12), st.integers(0))
def test_random_damage_gives_valid_samples_or_a_record_error(tmp_path_factory, damage, seed):
    content = bytearray(
        tar_member("a.jpg", b"1" * 30) + pax_header({"path": "é" * 70 + ".txt"})
        + tar_member("x.txt") + tar_member("caf\udce9.txt") + END
    )  # fmt: skip
    for position, value in damage:
        content[position % len(content)] = value
    # With a valid checksum, a damaged header is parsed further.
    for start in range(0, len(content) - 511, 512):
        if (
            random.Random(seed + start).random() < 0.5
            and content[start + 257 : start + 262] == b"ustar"
        ):
            header = bytes(content[start : start + 512])
            content[start : start + 512] = with_size_field(header, header[124:136])
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    path.write_bytes(content)
    with suppress(RecordError):
        for sample in index_tar(str(path), Counter()):
            assert all(reason in REASONS for reason, _ in sample.problems.values())
            assert all(
                0 < offset <= offset + size <= len(content)
                for _, offset, size in sample.members.values()
            )


def test_tars_of_other_projects_are_indexed_in_little_memory(real_data):
    folder = real_data("ugly") / "tars"
    program = """
import sys
from collections import Counter
from mmfeat.errors import RecordError
from mmfeat.shards.tar_index import index_tar
from mmfeat.system.memory import peak_memory_mb
for path in sys.argv[1:]:
    before = peak_memory_mb()
    count, reason = 0, ""
    try:
        for sample in index_tar(path, Counter()):
            count += 1
    except RecordError as error:
        reason = error.reason
    growth = peak_memory_mb() - before
    assert growth < 50, (path, growth)
    print(path.rpartition("/")[2], count, reason)
"""
    files = [str(path) for path in sorted(folder.iterdir())]
    lines = run_python(program, *files).splitlines()
    outcomes = {line.split()[0]: line.split()[1:] for line in lines}
    assert set(outcomes) == {path.rpartition("/")[2] for path in files}
    assert outcomes["webdataset_mpdata.tar"] == ["100"]
    assert outcomes["tar-stream_latin1.tar"] == ["1"]
    assert outcomes["tar-stream_invalid.tgz"] == ["0", "damaged_shard"]
    assert outcomes["tar-stream_incomplete.tar"][0] == "1"


def test_memory_does_not_grow_with_the_number_of_members(tmp_path):
    def peak(number):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(b"".join(tar_member(f"k{i}.txt") for i in range(number)) + END)
        tracemalloc.start()
        assert sum(1 for _ in index_tar(str(path), Counter())) == number
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)
    assert peak(3000) < 2 * peak(300)
