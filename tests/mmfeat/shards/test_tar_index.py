import io
import random
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import RecordError
from mmfeat.records.record import REASONS
from mmfeat.shards.tar_index import MAX_JSON_BYTES, index_tar

END = b"\0" * 1024


def block(data):
    return data + b"\0" * (-len(data) % 512)


def member(name, content=b"x", kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header + block(content)


def pax(records, kind=tarfile.XHDTYPE):
    lines = b""
    for name, value in records.items():
        line = f" {name}={value}\n".encode()
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        lines += str(length).encode() + line
    info = tarfile.TarInfo("pax")
    info.type, info.size = kind, len(lines)
    return info.tobuf(tarfile.USTAR_FORMAT) + block(lines)


def with_size(header, field):
    """A header with another size field and the checksum that fits it."""
    header = bytearray(header)
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


@pytest.fixture
def index(tmp_path):
    def run(content):
        """Samples, what broke, and members that belong to none."""
        path = tmp_path / "a.tar"
        path.write_bytes(content)
        ignored, samples = Counter(), []
        try:
            for sample in index_tar(str(path), ignored):
                samples.append(sample)
                assert len(samples) < 1000
        except RecordError as error:
            return samples, str(error), ignored
        return samples, None, ignored

    return run


def told(samples):
    return [
        (s.key, sorted(s.members), {e: reason for e, (reason, _) in s.problems.items()})
        for s in samples
    ]


def test_members_are_found_at_their_place_and_no_content_is_read(index, tmp_path):
    contents = {"a.jpg": b"picture", "a.txt": b"", "a.left.PNG": b"p" * 600, "d/b.cls": b"7"}
    samples, broken, _ = index(b"".join(member(n, c) for n, c in contents.items()) + END)
    assert broken is None
    assert [(s.key, list(s.members)) for s in samples] == [
        ("a", ["jpg", "txt", "left.png"]), ("d/b", ["cls"]),
    ]  # fmt: skip
    data = (tmp_path / "a.tar").read_bytes()
    for sample in samples:
        for name, offset, size in sample.members.values():
            assert data[offset : offset + size] == contents[name]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(
            st.characters(exclude_characters="\0/.", exclude_categories=["Cs"]),
            min_size=1,
            max_size=120,
        ),
        st.dictionaries(
            st.sampled_from(["jpg", "txt", "cls"]), st.binary(max_size=700), min_size=1
        ),
        max_size=5,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_any_tar_of_pythons_tarfile_is_indexed_as_it_is(tmp_path_factory, samples, format):
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    with tarfile.open(path, "w", format=format) as tar:
        for key, members in samples.items():
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    data = path.read_bytes()
    found = {
        sample.key: {
            extension: data[offset : offset + size]
            for extension, (_, offset, size) in sample.members.items()
        }
        for sample in index_tar(str(path), Counter())
    }
    assert found == samples


def test_the_json_is_read_and_a_second_one_is_a_duplicate(index):
    (sample,), _, _ = index(member("a.json", b'{"n": 1}') + member("a.json", b"{}") + END)
    assert sample.document == b'{"n": 1}'
    assert told([sample]) == [("a", [], {"json": "duplicate"})]


def test_a_json_of_gigabytes_is_not_read(index):
    hole = with_size(member("a.json", b""), b"%011o\0" % (MAX_JSON_BYTES + 1))
    (sample,), _, _ = index(hole + b"\0" * (MAX_JSON_BYTES + 512) + END)
    assert sample.document is None
    assert told([sample]) == [("a", [], {"json": "too_large"})]


def test_a_second_member_of_a_name_leaves_the_first(index):
    (sample,), _, _ = index(member("a.jpg", b"1") + member("a.JPG", b"22") + END)
    assert sample.members["jpg"][2] == 1
    assert sample.problems["jpg"][0] == "duplicate"


@pytest.mark.parametrize(
    "unsafe",
    [
        member("a.jpg", b"", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("a.jpg", b"", tarfile.LNKTYPE, linkname="b.jpg"),
        member("a.jpg", b"", tarfile.CHRTYPE),
        member("a.jpg", b"", tarfile.BLKTYPE),
        member("a.jpg", b"", tarfile.FIFOTYPE),
        pax({"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}) + member("a.jpg", b"x"),
    ],
    ids=["symlink", "hard link", "character device", "block device", "pipe", "sparse"],
)
def test_links_devices_and_sparse_members_are_unsafe(index, unsafe):
    samples, broken, _ = index(unsafe + member("a.txt") + END)
    assert told(samples) == [("a", ["txt"], {"jpg": "unsafe"})]
    assert broken is None


@pytest.mark.parametrize("extension", ["pkl", "pickle", "seg.pyd", "PT", "pth", "ckpt", "joblib"])
def test_pickles_are_unsafe(index, extension):
    samples, _, _ = index(member(f"a.{extension}") + member("a.txt") + END)
    assert told(samples) == [("a", ["txt"], {extension.lower(): "unsafe"})]


def test_members_of_no_sample_are_counted_and_folders_are_not(index):
    names = ["README", "d/LICENSE", ".hidden", "d/.gitignore", "trailing."]
    content = member("d/", b"", tarfile.DIRTYPE) + b"".join(map(member, names))
    samples, broken, ignored = index(content + END)
    assert (samples, broken, sum(ignored.values())) == ([], None, 5)


def test_names_that_are_not_utf8_are_kept_and_extensions_are_printable(index):
    samples, _, _ = index(
        member("caf\udce9.jpg") + member("caf\udce9.t\udce9\n\t") + member("é.TXT") + END
    )
    assert told(samples) == [("caf\udce9", ["jpg", "t___"], {}), ("é", ["txt"], {})]


@pytest.mark.parametrize("cut", range(0, 3584, 64))
def test_a_tar_cut_anywhere_gives_what_is_whole_and_says_what_is_not(index, cut):
    content = b"".join(member(f"k{i}.txt", b"y" * 600) for i in range(2)) + END
    samples, broken, _ = index(content[:cut])
    whole = sum(end <= cut for end in (512 + 600, 1536 + 512 + 600))
    assert [sample.key for sample in samples if sample.members] == ["k0", "k1"][:whole]
    cut_in_member = [sample for sample in samples if sample.problems]
    assert all(s.problems["txt"][0] == "damaged_shard" for s in cut_in_member)
    # Cut in the padding or the end mark nothing is lost; cut between two members it lacks its end.
    assert broken or cut_in_member or cut > 2648


def test_what_stands_behind_the_end_is_not_passed_over_in_silence(index):
    one, two = member("a.txt") + END, member("b.txt") + END
    assert index(one + b"\0" * 9000)[1] is None
    samples, broken, _ = index(one + two)
    assert [sample.key for sample in samples] == ["a"]
    assert "the file goes on" in broken
    assert "the file goes on" in index(one + b"garbage")[1]


def test_a_broken_header_in_the_middle_is_no_end(index):
    samples, broken, _ = index(member("a.txt") + b"\xff" * 512 + member("b.txt") + END)
    assert [sample.key for sample in samples] == ["a"]
    assert broken


def test_an_empty_tar_has_no_samples_and_an_empty_file_is_none(index):
    assert index(END)[:2] == ([], None)
    assert index(b"\0" * 10240)[:2] == ([], None)
    assert index(b"")[1]
    assert index(b"no tar at all" * 100)[1]
    assert index(b"\x1f\x8b" + bytes(range(256)) * 9)[1]


HOSTILE = {
    "a size of gigabytes": with_size(pax({"a": "b"})[:512], b"%011o\0" % (3 << 30)) + b"\0" * 9999,
    "a long name of gigabytes": with_size(
        member("././@LongLink", b"", b"L")[:512], b"%011o\0" % (7 << 30)
    )
    + b"x" * 9999,
    "a negative size": pax({"size": "-2048"}) + member("b.txt") + END,
    "a size that leads back": pax({"size": "-1536"}) + member("b.txt") + END,
    "a negative size in base 256": with_size(member("b.txt"), b"\xff" * 10 + b"\xf8\0") + END,
    "a size beyond all files": with_size(member("b.txt"), b"\x80" + b"\xff" * 11) + END,
    "a size of too many digits": pax({"size": "9" * 5000}) + member("b.txt") + END,
    "headers of headers": pax({"a": "b"}) * 900 + member("b.txt") + END,
    "names of names": member("././@LongLink", b"x", b"L") * 900 + member("b.txt") + END,
    "an endless sparse map": pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                  "GNU.sparse.realsize": "9", "GNU.sparse.name": "s.txt"})
    + member("s.txt", b"100000000\n" + b"1\n" * 2_000_000) + END,
    "attributes of all members": b"".join(
        pax({f"{i}-{j}": "" for j in range(900)}, tarfile.XGLTYPE) for i in range(5)
    ) + member("b.txt") + END,
    "no length": block(pax({"a": "b"})[:512] + b"0 a=b\n") + member("b.txt") + END,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_costs_neither_time_nor_memory_nor_the_run(index, name):
    content = member("a.txt") + HOSTILE[name]
    started = time.monotonic()
    tracemalloc.start()
    samples, broken, _ = index(content)
    peak = tracemalloc.get_traced_memory()[1] - len(content)
    tracemalloc.stop()
    assert samples[0].key == "a"
    assert broken or any(sample.problems for sample in samples)
    assert all(size >= 0 for s in samples for _, _, size in s.members.values())
    assert peak < 10_000_000
    assert time.monotonic() - started < 30


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=12), st.integers(0))
def test_damage_anywhere_is_survived(tmp_path_factory, damage, seed):
    content = bytearray(
        member("a.jpg", b"1" * 30) + pax({"path": "é" * 70 + ".txt"}) + member("x.txt")
        + member("caf\udce9.txt") + END
    )  # fmt: skip
    for position, value in damage:
        content[position % len(content)] = value
    # Checksums that fit let the damage through to where it hurts.
    for start in range(0, len(content) - 511, 512):
        if (
            random.Random(seed + start).random() < 0.5
            and content[start + 257 : start + 262] == b"ustar"
        ):
            header = bytes(content[start : start + 512])
            content[start : start + 512] = with_size(header, header[124:136])
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    path.write_bytes(content)
    with suppress(RecordError):
        for sample in index_tar(str(path), Counter()):
            assert all(reason in REASONS for reason, _ in sample.problems.values())
            assert all(
                0 < offset <= offset + size <= len(content)
                for _, offset, size in sample.members.values()
            )


def test_the_ugly_tars_of_other_projects_are_indexed_in_little_memory(real_data):
    folder = real_data("ugly") / "tars"
    program = """
import sys
from collections import Counter
from mmfeat.console import peak_memory_mb
from mmfeat.errors import RecordError
from mmfeat.tarindex import index_tar
for path in sys.argv[1:]:
    before = peak_memory_mb()
    count, broken = 0, ""
    try:
        for sample in index_tar(path, Counter()):
            count += 1
    except RecordError as error:
        broken = error.reason
    grown = peak_memory_mb() - before
    assert grown < 50, (path, grown)
    print(path.rpartition("/")[2], count, broken)
"""
    files = [str(path) for path in sorted(folder.iterdir())]
    done = subprocess.run(
        [sys.executable, "-c", program, *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert set(seen) == {path.rpartition("/")[2] for path in files}
    assert seen["webdataset_mpdata.tar"] == ["100"]
    assert seen["tar-stream_latin1.tar"] == ["1"]
    assert seen["tar-stream_invalid.tgz"] == ["0", "damaged_shard"]
    assert seen["tar-stream_incomplete.tar"][0] == "1"


def test_memory_does_not_grow_with_the_number_of_members(tmp_path):
    def peak(number):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(b"".join(member(f"k{i}.txt") for i in range(number)) + END)
        tracemalloc.start()
        assert sum(1 for _ in index_tar(str(path), Counter())) == number
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)
    assert peak(3000) < 2 * peak(300)
