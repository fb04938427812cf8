"""Read the rows of a store for an export: features, or predictions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mmfeat.config import choose_names
from mmfeat.exporting.rows import ExportRows
from mmfeat.features import FeatureShape
from mmfeat.store import json_digest


class ExportSource(ABC):
    """A finished store whose rows are exported.

    Attributes:
        path: the store.
        manifest: its manifest.
    """

    path: str
    manifest: dict[str, Any]

    @property
    def shards(self) -> list[dict[str, Any]]:
        """The shards of the manifest."""
        return list(self.manifest["shards"])

    @property
    def settings(self) -> dict[str, Any]:
        """What identifies the content of the store."""
        listing = [[s["name"], s["records"], s["keys_sha256"]] for s in self.shards]
        return {
            "kind": self.manifest["kind"],
            "config_hash": self.manifest["config_hash"],
            "shards": json_digest(listing),
            "vectors": {name: self.fingerprint(name) for name in self.shapes},
        }

    @property
    @abstractmethod
    def shapes(self) -> dict[str, FeatureShape]:
        """Column of vectors → its shape."""

    @property
    @abstractmethod
    def modalities(self) -> dict[str, str]:
        """Column of vectors → `image`, `text` or `audio`; empty if it is none of them."""

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Schema of the columns without vectors."""

    @property
    @abstractmethod
    def complete(self) -> set[str]:
        """Columns of vectors that no record lacks."""

    @abstractmethod
    def fingerprint(self, column: str) -> str:
        """Return the fingerprint of a column of vectors."""

    @abstractmethod
    def read(
        self, shard: str, columns: Sequence[str], vectors: Sequence[str], dtype: str
    ) -> ExportRows:
        """Read the rows of a shard, without those that a retry has replaced.

        Args:
            shard: name of the shard.
            columns: columns without vectors.
            vectors: columns of vectors.
            dtype: type of the vectors; empty = as stored.

        Raises:
            DamagedFileError: a file of the shard is damaged.
        """

    def choose_columns(self, flags: Sequence[str]) -> list[str]:
        """Return the columns that --columns names, the key first; all by default.

        Raises:
            MmfeatError: the store lacks one.
        """
        known = self.schema.names
        rule = f"{self.path} has no column of that name (--columns)"
        names = choose_names(flags, known, rule)
        return [*dict.fromkeys(["__key__", *(names or known)])]

    def choose_vectors(self, flag: str) -> list[str]:
        """Return the columns of vectors that --modalities names; all by default.

        Raises:
            MmfeatError: the store lacks one.
        """
        rule = f"{self.path} has no column of vectors of that name (--modalities)"
        names = choose_names([flag], self.shapes, rule)
        return [name for name in self.shapes if not names or name in names]
