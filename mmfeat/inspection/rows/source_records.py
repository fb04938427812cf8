"""Read what the shards of a store have of chosen records: metadata, and the media in the tars."""

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.inspection.previews import Preview, check_shards_of_features, read_previews
from mmfeat.inspection.rows.store_kinds import ShardRows
from mmfeat.inspection.rows.store_rows import StoreRows
from mmfeat.shards import find_standard_columns

_KEPT = {"__key__", "status", "reason", "error"}


class SourceRecords:
    """The shards that a store was made from.

    Args:
        store: the store.
        shards: directory of the shards; empty = find it through the receipts of the store.

    Attributes:
        folder: the directory; None if it is not available.
        problem: why it is not available.

    Raises:
        MmfeatError: `shards` holds no shards, or other ones.
    """

    def __init__(self, store: StoreRows, shards: str = "") -> None:
        self.folder, self.problem = (shards, "") if shards else store.find_shards()
        self._names: set[str] = set()
        if self.folder:
            try:
                self._names = check_shards_of_features(
                    self.folder, store.features_hash, store.owner
                )
            except MmfeatError as error:
                if shards:
                    raise
                self.folder, self.problem = None, error.rule

    def read_metadata(self, keys: Mapping[str, Collection[str]]) -> dict[str, dict[str, Any]]:
        """Return the rows of the shards' tables: key → column → value.

        Rows of damaged files are left out.

        Args:
            keys: shard → keys.
        """
        if not self.folder:
            return {}
        found: dict[str, dict[str, Any]] = {}
        rows = ShardRows(self.folder)
        for shard, names in keys.items():
            if shard not in self._names:
                continue
            wanted = pa.array(sorted(names), pa.string())
            try:
                for batch in rows.iter_batches(shard):
                    mask = pc.is_in(batch["__key__"].cast(pa.string()), value_set=wanted)
                    chosen = drop_standard_columns(batch.filter(mask))
                    found |= {row["__key__"]: row for row in chosen.to_pylist()}
            except (DamagedFileError, OSError):
                continue
        return found

    def read_media(
        self, keys: Mapping[str, Collection[str]], *, sounds: bool, characters: int | None = None
    ) -> dict[tuple[str, str], Preview]:
        """Return the previews of records; arguments as in `read_previews`."""
        if not self.folder:
            return {}
        # A shard name from a file must not be used as a path.
        known = {shard: names for shard, names in keys.items() if shard in self._names}
        return read_previews(self.folder, known, sounds=sounds, characters=characters)


def drop_standard_columns(table: pa.Table) -> pa.Table:
    """Return a samples table without the columns that every table has, but key and status."""
    standard = find_standard_columns(table.column_names) - _KEPT
    return table.select([name for name in table.column_names if name not in standard])
