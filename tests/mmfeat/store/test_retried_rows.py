import pyarrow as pa

from mmfeat.store.retried_rows import RETRY_SHARD, RetriedRows

ROWS = {
    "00000": {"a": "ok", "b": "failed", "c": "partial", "d": "failed", "e": "partial"},
    "00001": {"b": "ok", "c": "partial"},
    "00002": {"c": "ok", "e": "ok"},
}


def test_rows_with_a_newer_row_in_a_later_shard_are_masked():
    tables = {
        shard: pa.table({"__key__": [*rows], "status": [*rows.values()]})
        for shard, rows in ROWS.items()
    }

    def read_keys(shard):
        return tables[shard]["__key__"]

    shards = [{"name": shard, "keys_sha256": shard} for shard in tables]
    retried = RetriedRows(shards, read_keys)
    assert retried.digest == ""
    assert not any(retried.mask(table, shard).any() for shard, table in tables.items())
    for entry in shards[1:]:
        entry[RETRY_SHARD] = True
    retried = RetriedRows(shards, read_keys)
    assert len(retried.digest) == 64
    assert {shard: retried.mask(table, shard).tolist() for shard, table in tables.items()} == {
        "00000": [False, True, True, False, True],
        "00001": [False, True],
        "00002": [False, False],
    }
