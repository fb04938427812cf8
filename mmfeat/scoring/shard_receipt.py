"""The receipt of a shard of predictions."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.scoring.inputs import ShardRows
from mmfeat.scoring.monitoring import Monitoring
from mmfeat.store import Receipt, ShardTask, keys_digest


def make_receipt(
    task: ShardTask,
    table: pa.Table,
    shard: ShardRows,
    monitoring: Monitoring,
    *,
    config_hash: str,
    source: dict[str, Any],
    states: tuple[str, ...],
) -> Receipt:
    """Return the receipt of a shard: its counts by reason, and numbers about its content.

    Args:
        task: the shard.
        table: its rows, in the order of the files.
        shard: what was read.
        monitoring: numbers about the rows.
        config_hash: configuration of the store.
        source: what the input is.
        states: values of `status` to count.
    """
    status = Counter(table["status"].to_pylist())
    with_reason = table.filter(pc.is_valid(table["reason"]))
    pairs = zip(with_reason["status"].to_pylist(), with_reason["reason"].to_pylist(), strict=True)
    found = Counter(pairs)
    rejected = {reason: number for (state, reason), number in found.items() if state == "failed"}
    partial = {reason: number for (state, reason), number in found.items() if state == "partial"}
    left_out = len(shard.samples) - int(shard.replaced.sum()) - len(table)
    return Receipt(
        shard=task.shard,
        config_hash=config_hash,
        records=len(table),
        out=len(table) - status["failed"],
        rejected=rejected,
        status={state: status[state] for state in states},
        problems={**partial, **rejected} if partial else {},
        keys_sha256=keys_digest(table["__key__"].to_pylist()),
        source={**source, **shard.facts, **({"left_out": left_out} if left_out else {})},
        monitoring=monitoring.to_document(),
        bytes_read=shard.bytes_read,
    )
