import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.records.record import Record, Sample
from mmfeat.shards.shard_reader import read_shard, read_stored_shard
from mmfeat.shards.tar_writer import TarWriter
from mmfeat.storage import files
from mmfeat.storage.output_file import OutputFile
from mmfeat.store import Receipt


def tar_with(keys):
    buffer = io.BytesIO()
    tar = TarWriter(OutputFile(buffer))
    for key in keys:
        tar.write(Sample(Record(0, key), {"txt": key.encode() * 300}))
    tar.close()
    return buffer.getvalue()


@pytest.fixture
def table():
    """A table of four records, the second of which failed."""
    columns = {
        "__key__": ["a", "b", "c", "d"],
        "status": ["ok", "failed", "partial", "ok"],
        "text_status": ["ok", "missing", "ok", "ok"],
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    buffer.seek(0)
    return buffer


def outcomes(records):
    """Key, and key of the sample, of each record."""
    return [(record.key, record.sample.key if record.sample else None) for record in records]


def test_each_record_has_its_sample_and_failed_records_have_none(table):
    assert outcomes(read_shard(table, io.BytesIO(tar_with("acd")), ["text"])) == [
        ("a", "a"),
        ("b", None),
        ("c", "c"),
        ("d", "d"),
    ]


@pytest.mark.parametrize(
    ("tar", "whole"),
    [
        (tar_with("acd")[:3000], "ab"),
        (tar_with("axd"), "ab"),
        (tar_with("ac"), "abc"),
        (tar_with("acd")[:2048] + b"noise" * 1600, "ab"),
        (b"", ""),
    ],
    ids=["cut", "other samples", "too few", "noise", "empty"],
)
def test_a_tar_that_does_not_fit_the_table_is_an_error(table, tar, whole):
    records = read_shard(table, io.BytesIO(tar), ["text"])
    with pytest.raises(DamagedFileError, match="the tar must"):
        for record, key in zip(records, [*whole, "error"], strict=True):
            assert record.key == key


@pytest.fixture
def stored(table, tmp_path):
    """A shard of a store, and its receipt."""
    contents = {"00000.parquet": table.getvalue(), "00000.tar": tar_with("acd")}
    receipt = Receipt("00000", "hash", records=4, out=3, rejected={"missing": 1})
    for name, content in contents.items():
        with files.create(str(tmp_path / name)) as output:
            output.write(content)
        receipt.files[name] = output.info()
    return tmp_path, receipt


def test_an_intact_shard_is_read(stored):
    folder, receipt = stored
    assert [key for key, _ in outcomes(read_stored_shard(str(folder), receipt, ["text"]))] == [
        *"abcd"
    ]


def test_damage_that_tar_does_not_notice_is_an_error(stored):
    """One bit of a text, and one of the padding after the end of the tar."""
    folder, receipt = stored
    path = folder / "00000.tar"
    whole = path.read_bytes()
    for place in (700, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        records = read_stored_shard(str(folder), receipt, ["text"])
        with pytest.raises(DamagedFileError, match=r"00000\.tar must have the bytes"):
            outcomes(records)


@pytest.mark.parametrize("name", ["00000.tar", "00000.parquet"])
def test_a_file_of_another_size_is_an_error(stored, name):
    folder, receipt = stored
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=f"{name} must have the"):
        next(read_stored_shard(str(folder), receipt, ["text"]))


def test_a_key_that_is_not_utf8_names_the_table():
    key = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xe9"]).buffers())
    buffer = io.BytesIO()
    pq.write_table(pa.table({"__key__": key, "status": ["failed"]}), buffer)
    with pytest.raises(DamagedFileError, match=r"table must be a valid Parquet file; got .*UTF8"):
        list(read_shard(io.BytesIO(buffer.getvalue()), io.BytesIO(b""), []))
