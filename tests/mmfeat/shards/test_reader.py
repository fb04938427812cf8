import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.records.record import Record, Sample
from mmfeat.shards.reader import aligned_rows
from mmfeat.shards.tar import TarWriter
from mmfeat.store.files import Output


def tar_of(keys):
    buffer = io.BytesIO()
    tar = TarWriter(Output(buffer))
    for key in keys:
        tar.write(Sample(Record(0, key), {"txt": key.encode() * 300}))
    tar.close()
    return buffer.getvalue()


@pytest.fixture
def table():
    status = ["ok", "failed", "partial", "ok"]
    text = ["ok", "missing", "ok", "ok"]
    columns = {"__key__": ["a", "b", "c", "d"], "status": status, "text_status": text}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    buffer.seek(0)
    return buffer


def outcome(rows):
    return [
        (row.key, row.sample.key if row.sample else None, row.problem and row.problem.reason)
        for row in rows
    ]


def test_each_row_meets_its_sample_and_failed_rows_have_none(table):
    assert outcome(aligned_rows(table, io.BytesIO(tar_of("acd")))) == [
        ("a", "a", None),
        ("b", None, None),
        ("c", "c", None),
        ("d", "d", None),
    ]


def test_a_cut_tar_costs_the_rows_behind_the_cut_and_no_others(table):
    whole = tar_of("acd")
    rows = outcome(aligned_rows(table, io.BytesIO(whole[:3000])))
    assert rows == [
        ("a", "a", None),
        ("b", None, None),
        ("c", None, "damaged_shard"),
        ("d", None, "damaged_shard"),
    ]


def test_a_tar_of_other_samples_is_found_out(table):
    rows = outcome(aligned_rows(table, io.BytesIO(tar_of("axd"))))
    assert [row[2] for row in rows] == [None, None, "damaged_shard", "damaged_shard"]


def test_no_tar_at_all_is_damage(table):
    rows = outcome(aligned_rows(table, io.BytesIO(b"")))
    assert [row[2] for row in rows] == ["damaged_shard", None, "damaged_shard", "damaged_shard"]
