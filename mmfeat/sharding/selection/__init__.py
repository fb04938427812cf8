"""Which records of the input are sharded: those that meet --where and are listed in --keys."""

from mmfeat.sharding.selection.condition import Condition
from mmfeat.sharding.selection.key_file import (
    check_keys,
    key_file_sha256,
    read_keys,
    require_key_file,
)
from mmfeat.sharding.selection.record_filter import (
    InputCounts,
    RecordFilter,
    make_filter,
    match_condition,
    match_keys,
)

__all__ = [
    "Condition",
    "InputCounts",
    "RecordFilter",
    "check_keys",
    "key_file_sha256",
    "make_filter",
    "match_condition",
    "match_keys",
    "read_keys",
    "require_key_file",
]
