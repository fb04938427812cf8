"""Copy the table of a shard into the feature store, where it is the samples table."""

from collections import Counter
from dataclasses import replace

from mmfeat.errors import MmfeatError
from mmfeat.features import TableFiles
from mmfeat.store import Receipt, files, read_receipt


def copy_samples_table(
    shards: str, samples: TableFiles, shard: str, *, records: int, sha256: str, config_hash: str
) -> None:
    """Copy the table of one shard, byte for byte, and write its receipt.

    The receipt repeats the counts of sharding.

    Args:
        shards: folder of the shards.
        samples: where to copy the table to.
        shard: name of the shard.
        records: rows of the table.
        sha256: digest of the shard's tar.
        config_hash: configuration of the feature store.

    Raises:
        MmfeatError: the shard is missing, or a file of it has changed.
    """
    table_name, tar_name = f"{shard}.parquet", f"{shard}.tar"
    sharded = read_receipt(shards, shard, unchecked_file=tar_name)
    if sharded is None:
        raise MmfeatError(
            f"shard {shard} of {shards} is missing or has changed",
            cure="Shard the input again with the same command",
        )
    if sharded.records != records:
        sharded = _drop_failed(sharded)
    attempt = samples.attempt(sharded.shard)
    with (
        files.open_input(files.join(shards, table_name)) as table,
        attempt.create(samples.receipt_name(table_name)) as output,
    ):
        while block := table.read(1 << 20):
            output.write(block)
    receipt = Receipt(
        shard=shard,
        config_hash=config_hash,
        records=sharded.records,
        out=sharded.out,
        rejected=sharded.rejected,
        status=sharded.status,
        problems=sharded.problems,
        keys_sha256=sharded.keys_sha256,
        source={"shards": shards, "sha256": sha256},
        bytes_read=sharded.files[tar_name]["bytes"],
    )
    attempt.commit(receipt)


def _drop_failed(receipt: Receipt) -> Receipt:
    """Return the counts without failed records: a shard of retried records has no row for them."""
    return replace(
        receipt,
        records=receipt.out,
        rejected={},
        status={status: n for status, n in receipt.status.items() if status != "failed"},
        problems=dict(Counter(receipt.problems) - Counter(receipt.rejected)),
    )
