import csv
import gzip
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.sharding.selection.key_file import check_keys, key_file_sha256, read_keys


def test_keys_from_the_lines_of_a_text(tmp_path):
    lines = "\ufeffa\r\n\n  b c \nd".encode() + b"\ncaf\xe9\n"
    (tmp_path / "keys.txt").write_bytes(lines)
    (tmp_path / "keys.txt.gz").write_bytes(gzip.compress(lines))
    expected = ["a", "b c", "d", "caf\\udce9"]
    assert list(read_keys(str(tmp_path / "keys.txt"))) == expected
    assert list(read_keys(str(tmp_path / "keys.txt.gz"))) == expected


def test_keys_from_the_column_of_a_table(tmp_path):
    with (tmp_path / "keys.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["n", "key"], ["1", "a"], ["2"], ["3", "b"]])
    pq.write_table(pa.table({"uid": [7, None, 8], "x": [1, 2, 3]}), tmp_path / "keys.parquet")
    (tmp_path / "keys.jsonl").write_text('{"__key__": "a", "key": "z"}\n{"x": 1}\n[]\n')
    assert list(read_keys(str(tmp_path / "keys.csv"))) == ["a", "b"]
    assert list(read_keys(str(tmp_path / "keys.parquet"))) == ["7", "8"]
    assert list(read_keys(str(tmp_path / "keys.jsonl"))) == ["a"]


def test_a_missing_key_is_no_key_and_equal_numbers_are_one_key(tmp_path):
    table = pa.table({"uid": [7.0, float("nan"), None, 8.5]})
    pq.write_table(table, tmp_path / "keys.parquet")
    pq.write_table(pa.table({"key": [b"a", b"", None]}), tmp_path / "bytes.parquet")
    (tmp_path / "keys.csv").write_text("key\n7.0\n\nv1.0\n")
    (tmp_path / "keys.txt").write_text("7.0\n\nv1.0\n")
    assert list(read_keys(str(tmp_path / "keys.parquet"))) == ["7", "8.5"]
    assert list(read_keys(str(tmp_path / "bytes.parquet"))) == ["a"]
    assert list(read_keys(str(tmp_path / "keys.csv"))) == ["7", "v1.0"]
    assert list(read_keys(str(tmp_path / "keys.txt"))) == ["7", "v1.0"]


def test_keys_from_datacomps_array_of_uids(tmp_path):
    uids = ["0123456789abcdef0000000000000001", "f" * 32]
    halves = [(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids]
    np.save(tmp_path / "uids.npy", np.array(halves, np.dtype("u8,u8")))
    assert list(read_keys(str(tmp_path / "uids.npy"))) == uids


class _Trap:
    def __reduce__(self):
        return (open, ("/tmp/never-written-by-mmfeat", "w"))


@pytest.mark.parametrize(
    "content",
    [
        np.array([_Trap()], object),
        np.zeros((3, 2), "u8"),
        np.zeros(3, "u8"),
        np.zeros(3, "f8,f8"),
        np.zeros((3, 3), "u8,u8"),
        b"\x93NUMPY\x01\x00cut",
        b"\x93NUMPY\x01\x00\x04\x00'''x",
        b"",
        pickle.dumps(_Trap()),
    ],
    ids=lambda content: type(content).__name__ + str(getattr(content, "dtype", "")),
)
def test_other_arrays_fail_and_no_pickle_is_loaded(tmp_path, content):
    path = tmp_path / "uids.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(MmfeatError, match="uids"):
        list(read_keys(str(path)))


def test_invalid_key_files_are_refused(tmp_path):
    with pytest.raises(MmfeatError, match="no such file of keys"):
        read_keys(str(tmp_path / "gone.txt"))
    with pytest.raises(MmfeatError, match="must be in a file"):
        key_file_sha256(str(tmp_path))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MmfeatError, match=r"needs a column called __key__, key or uid.*got 'a, b'"):
        read_keys(str(tmp_path / "t.csv"))
    struct = [{"bytes": b"a", "path": "a"}]
    pq.write_table(pa.table({"key": struct}), tmp_path / "bytes.parquet")
    with pytest.raises(MmfeatError, match="must hold texts or numbers"):
        list(read_keys(str(tmp_path / "bytes.parquet")))


def test_the_digest_depends_on_the_content_only(tmp_path):
    for name, text in (("a.txt", "x\n"), ("b.txt", "x\n"), ("c.txt", "y\n")):
        (tmp_path / name).write_text(text)
    first, same, other = (key_file_sha256(str(tmp_path / n)) for n in ("a.txt", "b.txt", "c.txt"))
    assert first == same != other


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("keys.txt", b"\n", "must have a key"),
        ("keys.txt.gz", b"no gzip", "must be whole"),
        ("keys.txt.gz", gzip.compress(b"a\n" * 1000)[:-9], "must be whole"),
        ("keys.txt.zst", b"no zstd", "must be whole"),
        ("keys.parquet", b"PAR1 no", "cannot be read as a table"),
        ("keys.npy", b"random", r"is no array of uids: .*pickled \(object\) data\.$"),
    ],
)
def test_files_that_are_no_keys(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MmfeatError, match=message):
        check_keys(str(tmp_path / name))


def test_a_folder_of_keys(tmp_path):
    with pytest.raises(MmfeatError, match="must be in a file"):
        check_keys(str(tmp_path))
