"""Find what a run must still make: the samples tables and columns of shards without a receipt."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.features import TableFiles
from mmfeat.storage import FileSizes
from mmfeat.store import Receipt, ShardTask, is_fresh

_COMBINATIONS: dict[tuple[str, ...], tuple[str, ...]] = {}
"""Each combination of tables once: there may be millions of tasks."""


@dataclass(frozen=True)
class PendingTables:
    """Finds the tables of a shard that have no receipt yet.

    Attributes:
        output: the feature store.
        shards: folder of the input shards, for errors.
        table: returns the files of a table.
        hashes: table → the configuration in its receipts.
    """

    output: str
    shards: str
    table: Callable[[str], TableFiles]
    hashes: Mapping[str, str]

    def plan(
        self, entries: Mapping[str, Mapping[str, Any]], sizes: FileSizes
    ) -> Iterator[tuple[str, ...]]:
        """Yield the pending tables of each input shard.

        Args:
            entries: input shard → its entry in the manifest.
            sizes: sizes of the files of the store.
        """
        receipts = [
            self.table(name).read_receipts(entries, config_hash, sizes)
            for name, config_hash in self.hashes.items()
        ]
        for entry, *of_tables in zip(entries.values(), *receipts, strict=True):
            pending = tuple(
                name
                for name, receipt in zip(self.hashes, of_tables, strict=True)
                if not self._is_done(name, receipt, entry)
            )
            yield _COMBINATIONS.setdefault(pending, pending)

    def make_task(
        self, entry: Mapping[str, Any], pending: tuple[str, ...], sizes: FileSizes
    ) -> ShardTask:
        """Return the task of an input shard with its pending tables."""
        name, receipts = entry["name"], [self.table(table).receipts for table in pending]
        return ShardTask(
            name,
            entry["records"],
            done=not pending,
            fresh=bool(pending) and is_fresh(self.output, name, sizes, receipts),
            pending=_COMBINATIONS.setdefault(pending, pending),
            source=entry,
        )

    def of(self, task: ShardTask) -> Sequence[str]:
        """Return the tables that have no receipt of a shard now."""
        if task.fresh:
            return task.pending
        return [
            name
            for name, config_hash in self.hashes.items()
            if not self._is_done(
                name, self.table(name).read_receipt(task.shard, config_hash), task.source
            )
        ]

    def _is_done(self, name: str, receipt: Receipt | None, entry: Mapping[str, Any]) -> bool:
        if receipt is None:
            return False
        old, new = receipt.source.get("sha256"), entry["sha256"]
        if not isinstance(old, str):
            return False
        if old != new:
            raise MmfeatError(
                f"shard {receipt.shard} of {self.table(name).folder} was made from other bytes "
                f"than {self.shards} has now (sha256 {old[:12]}, now {new[:12]})",
                cure="Name another output directory",
            )
        return True
