import pytest


@pytest.fixture
def small_shards(mmfeat, toy_table, tmp_path):
    """Sixty records in six shards."""
    shards = tmp_path / "small_shards"
    assert mmfeat("shard", toy_table, shards, "--samples-per-shard", 10).returncode == 0
    return shards
