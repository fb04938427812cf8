"""Where a feature store keeps the rows and the receipts of its samples table and its columns.

    samples/00000.parquet             rows of the samples table
    image/00000.arrow                 rows of the column image
    00000_stats.json                  receipt of the samples table
    columns/image/00000_stats.json    receipt of the column
    columns/image/column.json         description of the column

A folder of rows holds nothing else, so that other tools open it. In format 1, receipts and
descriptions lie beside the rows.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mmfeat.errors import DamagedFileError
from mmfeat.storage import FileSizes, files
from mmfeat.store import (
    Receipt,
    RecordedFile,
    ShardAttempt,
    read_receipt,
    read_receipts,
    require_receipts,
)

SAMPLES = "samples"
"""Folder of the samples table. Each column has a folder beside it."""

COLUMNS = "columns"
"""Folder of the receipts and descriptions of columns."""

COLUMN_FILE = "column.json"
"""Description of a column, in the folder of its receipts."""

ENCODER_FLAG = "encoder_flag"
"""Field of the description: the encoder as `--encoder` names it, to load it again."""


@dataclass(frozen=True)
class TableFiles:
    """The files of the samples table or of one column.

    Attributes:
        store: the feature store.
        name: `samples`, or name of the column.
        store_format: format of the store.
    """

    store: str
    name: str
    store_format: int

    @property
    def folder(self) -> str:
        """Folder of the rows."""
        return files.join(self.store, self.name)

    @property
    def receipts(self) -> str:
        """Folder of the receipts, and of the description of a column."""
        if self.store_format == 1:
            return self.folder
        return self.store if self.name == SAMPLES else files.join(self.store, COLUMNS, self.name)

    def receipt_name(self, file: str) -> str:
        """Return the name of a file of rows in receipts."""
        return file if self.store_format == 1 else files.join(self.name, file)

    def read_receipts(
        self, shards: Iterable[str], config_hash: str, sizes: FileSizes
    ) -> Iterator[Receipt | None]:
        """Yield the receipts of shards; see `mmfeat.store.receipts.read_receipts`."""
        return read_receipts(
            self.receipts,
            shards,
            config_hash,
            expected_files=[self.receipt_name(self._file)],
            root=self._root,
            sizes=sizes,
        )

    def read_receipt(self, shard: str, config_hash: str = "") -> Receipt | None:
        """Read the receipt of a shard; see `mmfeat.store.receipts.read_receipt`."""
        return read_receipt(
            self.receipts,
            shard,
            config_hash,
            expected_files=[self.receipt_name(self._file)],
            root=self._root,
        )

    def find_rows(
        self, shard: str, config_hash: str = "", keys_sha256: str = ""
    ) -> tuple[str, RecordedFile]:
        """Return the file with the rows of a shard, and what the receipt records of it.

        Args:
            shard: name of the shard.
            config_hash: as in `read_receipt`.
            keys_sha256: digest of the keys that the rows must align with; empty = any.

        Raises:
            DamagedFileError: the shard has no valid receipt, or is of other records.
        """
        receipt = self.read_receipt(shard, config_hash)
        if receipt is None:
            raise DamagedFileError(
                f"shard {shard} of {self.folder} is missing or damaged",
                cure=f"Make it again with the command that made {self.store}",
            )
        if keys_sha256 and receipt.keys_sha256 != keys_sha256:
            raise DamagedFileError(
                f"shard {shard} of {self.folder} must have the keys of the manifest",
                got="the receipt of other keys",
                cure=f"Restore it, or run mmfeat verify --fix {shlex.quote(self.store)}",
            )
        name = self.receipt_name(self._file.format(shard))
        return files.join(self._root, name), receipt.files[name]

    def require_receipts(self, shards: Iterable[str]) -> Iterator[Receipt]:
        """Yield the receipts of all shards; see `mmfeat.store.receipts.require_receipts`."""
        return require_receipts(
            self.receipts,
            shards,
            expected_files=[self.receipt_name(self._file)],
            root=self._root,
            failures_in=self.store,
        )

    def attempt(self, shard: str, *, fresh: bool = False) -> ShardAttempt:
        """Start an attempt to make the rows of a shard; see `ShardAttempt`."""
        return ShardAttempt(self.receipts, shard, self._root, table=self.name, fresh=fresh)

    @property
    def _file(self) -> str:
        """Name of a file of rows, with `{}` for the shard."""
        return "{}.parquet" if self.name == SAMPLES else "{}.arrow"

    @property
    def _root(self) -> str:
        """Folder that the names in receipts are relative to."""
        return self.folder if self.store_format == 1 else self.store
