import pytest

from mmfeat.errors import MmfeatError
from mmfeat.sharding.config import ShardConfig


def test_keys_column_needs_keys():
    with pytest.raises(MmfeatError, match="--keys-column needs --keys"):
        ShardConfig("in.csv", "out", keys_column="uid")


def test_the_fingerprint_contains_the_filter():
    config = ShardConfig("in.csv", "out", where="w > 1", keys="k.txt", keys_column="uid")
    assert config.fingerprint({}, "digest", "hash")["selection"] == {
        "where": "w > 1", "keys_sha256": "digest", "keys_column": "uid",
    }  # fmt: skip
