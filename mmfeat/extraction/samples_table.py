"""Copy the table of a shard into the feature store, where it is the samples table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.features import TableFiles
from mmfeat.shards import SHARD_FILES
from mmfeat.store import Receipt, read_receipt


def read_input_receipt(shards: str, entry: Mapping[str, Any]) -> Receipt:
    """Read the receipt of an input shard.

    Args:
        shards: folder of the shards.
        entry: entry of the shard in the manifest.

    Raises:
        DamagedFileError: the shard is missing, or it has changed since the manifest was written.
    """
    receipt = read_receipt(shards, entry["name"], expected_files=SHARD_FILES)
    tar = f"{entry['name']}.tar"
    if receipt is None or receipt.files[tar]["sha256"] != entry["sha256"]:
        raise DamagedFileError(
            f"shard {entry['name']} of {shards} is missing or has changed",
            cure=f"Restore its files, or run mmfeat verify --fix {shards}, then shard again",
        )
    return receipt


def copy_samples_table(
    shards: str,
    samples: TableFiles,
    sharded: Receipt,
    table: bytes,
    *,
    records: int,
    config_hash: str,
    fresh: bool = False,
) -> Receipt:
    """Copy the table of one shard, byte for byte, and write its receipt, which is returned.

    The receipt repeats the counts of sharding.

    Args:
        shards: folder of the shards.
        samples: where to copy the table to.
        sharded: the receipt of the shard.
        table: its table.
        records: rows of the table.
        config_hash: configuration of the feature store.
        fresh: as in `ShardAttempt`.
    """
    table_name, tar_name = f"{sharded.shard}.parquet", f"{sharded.shard}.tar"
    if sharded.records != records:
        sharded = _drop_failed(sharded)
    attempt = samples.attempt(sharded.shard, fresh=fresh)
    with attempt.create(samples.receipt_name(table_name)) as output:
        output.write(table)
    receipt = Receipt(
        shard=sharded.shard,
        config_hash=config_hash,
        records=sharded.records,
        out=sharded.out,
        rejected=sharded.rejected,
        status=sharded.status,
        problems=sharded.problems,
        keys_sha256=sharded.keys_sha256,
        source={"shards": shards, "sha256": sharded.files[tar_name]["sha256"]},
        bytes_read=sharded.files[tar_name]["bytes"],
    )
    attempt.commit(receipt)
    return receipt


def _drop_failed(receipt: Receipt) -> Receipt:
    """Return the counts without failed records: a shard of retried records has no row for them."""
    return replace(
        receipt,
        records=receipt.out,
        rejected={},
        status={status: n for status, n in receipt.status.items() if status != "failed"},
        problems=dict(Counter(receipt.problems) - Counter(receipt.rejected)),
    )
