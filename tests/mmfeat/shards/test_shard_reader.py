import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.records.record import Record, Sample
from mmfeat.shards.shard_reader import read_shard
from mmfeat.shards.tar_writer import TarWriter
from mmfeat.store.files import OutputFile


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
    """Key, key of the sample and reason of each record."""
    return [
        (
            record.key,
            record.sample.key if record.sample else None,
            record.problem.reason if record.problem else None,
        )
        for record in records
    ]


def test_each_record_has_its_sample_and_failed_records_have_none(table):
    assert outcomes(read_shard(table, io.BytesIO(tar_with("acd")), ["text"])) == [
        ("a", "a", None),
        ("b", None, None),
        ("c", "c", None),
        ("d", "d", None),
    ]


def test_a_truncated_tar_loses_the_records_after_the_cut(table):
    tar = tar_with("acd")
    assert outcomes(read_shard(table, io.BytesIO(tar[:3000]), ["text"])) == [
        ("a", "a", None),
        ("b", None, None),
        ("c", None, "damaged_shard"),
        ("d", None, "damaged_shard"),
    ]


@pytest.mark.parametrize(
    ("tar", "reasons"),
    [
        (tar_with("axd"), [None, None, "damaged_shard", "damaged_shard"]),
        (b"", ["damaged_shard", None, "damaged_shard", "damaged_shard"]),
    ],
    ids=["other samples", "empty"],
)
def test_a_tar_that_does_not_match_the_table_is_damaged(table, tar, reasons):
    assert [
        reason for *_, reason in outcomes(read_shard(table, io.BytesIO(tar), ["text"]))
    ] == reasons
