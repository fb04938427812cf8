"""Parquet files of a store, checked before Arrow decodes them."""

from mmfeat.store.parquet.files import (
    damage_errors,
    damaged,
    iter_parquet,
    read_parquet,
    read_parquet_schema,
)
from mmfeat.store.parquet.footer import open_parquet
from mmfeat.store.parquet.sizes import check_chunks, dictionary_bytes

__all__ = [
    "check_chunks",
    "damage_errors",
    "damaged",
    "dictionary_bytes",
    "iter_parquet",
    "open_parquet",
    "read_parquet",
    "read_parquet_schema",
]
