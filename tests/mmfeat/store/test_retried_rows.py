import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.store.retried_rows import RETRY_SHARD, RetriedRows


def test_failed_rows_whose_key_is_in_a_retry_shard_are_masked(tmp_path):
    first = pa.table({"__key__": ["a", "b", "c"], "status": ["ok", "failed", "failed"]})
    pq.write_table(pa.table({"__key__": ["b"], "status": ["ok"]}), tmp_path / "00001.parquet")
    shards = [{"name": "00000", "keys_sha256": "x"}, {"name": "00001", "keys_sha256": "y"}]
    assert RetriedRows(str(tmp_path), shards).mask(first).tolist() == [False] * 3
    assert RetriedRows(str(tmp_path), shards).digest == ""
    shards[1][RETRY_SHARD] = True
    assert RetriedRows(str(tmp_path), shards).mask(first).tolist() == [False, True, False]
    assert len(RetriedRows(str(tmp_path), shards).digest) == 64
