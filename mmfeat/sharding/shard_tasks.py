"""The tasks of a sharding run: which shards are to be made, and where their records are planned."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import tee

from mmfeat.records import Record
from mmfeat.sharding.shard_plan import read_planned_records
from mmfeat.shards import SHARD_FILES
from mmfeat.storage import FileSizes
from mmfeat.store import (
    NO_FACTS,
    Piece,
    PlannedShard,
    Receipt,
    ShardTask,
    is_fresh,
    read_receipts,
)

_PIECE, _HASH = "piece", "config_hash"


def make_tasks(
    output: str,
    run_hash: str,
    shards: Iterable[tuple[PlannedShard, str]],
    is_final: Callable[[Receipt, str], bool],
    committed: Counter[str],
) -> list[ShardTask]:
    """Return the task of each shard.

    Args:
        output: the store.
        run_hash: configuration of the run.
        shards: the shards, and the configuration hash in their receipts.
        is_final: returns whether a shard with a receipt and this hash is not made again.
        committed: counts `records` and `failed` of the shards that are not made again.
    """
    sizes = FileSizes()
    shards, again = tee(shards)
    names = (shard.name for shard, _ in again)
    receipts = read_receipts(output, names, expected_files=SHARD_FILES, sizes=sizes)
    tasks = []
    for (shard, config_hash), receipt in zip(shards, receipts, strict=True):
        if receipt and is_final(receipt, config_hash):
            committed["records"] += receipt.records
            committed["failed"] += receipt.status.get("failed", 0)
            source = _describe(None, config_hash, run_hash)
            tasks.append(ShardTask(shard.name, shard.records, done=True, source=source))
        else:
            fresh = is_fresh(output, shard.name, sizes)
            source = _describe(shard.piece, config_hash, run_hash)
            tasks.append(ShardTask(shard.name, shard.records, fresh=fresh, source=source))
    return tasks


def _describe(piece: Piece | None, config_hash: str, run_hash: str) -> Mapping[str, str]:
    """Return what a worker has to know of a shard besides its name."""
    facts = {_PIECE: piece.encode()} if piece else {}
    return (facts | {_HASH: config_hash} if config_hash != run_hash else facts) or NO_FACTS


def expected_hash(task: ShardTask, run_hash: str) -> str:
    """Return the configuration hash in the receipt of a task's shard."""
    return str(task.source.get(_HASH, run_hash))


def read_task_records(output: str, task: ShardTask) -> list[Record]:
    """Return the planned records of a task's shard; see `read_planned_records`."""
    piece = task.source.get(_PIECE)
    return read_planned_records(output, task.shard, Piece.decode(piece) if piece else None)
