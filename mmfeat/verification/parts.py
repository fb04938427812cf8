"""The parts of a store: one shard of one table, with its receipt and its files."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.features import COLUMN_FILE, COLUMNS, SAMPLES, Column, TableFiles, parse_columns
from mmfeat.storage import check_value, files, read_intact_document
from mmfeat.store import MANIFEST_FILE, Receipt

_RECEIPT = "_stats.json"


@dataclass(frozen=True)
class Part:
    """One shard of one table of a store.

    Attributes:
        table: `shards`, `predictions`, `samples`, or the name of a feature column.
        shard: name of the shard.
        receipts: folder of the receipt.
        root: folder that the names of files in the receipt are relative to.
        config_hash: configuration that the receipt must have; empty = any.
        entry: the shard in the manifest, as far as it is known.
        column: description of a feature column.
    """

    table: str
    shard: str
    receipts: str
    root: str
    config_hash: str
    entry: Mapping[str, Any]
    column: Column | None = None

    @property
    def receipt_path(self) -> str:
        """Path of the receipt."""
        return files.join(self.receipts, f"{self.shard}{_RECEIPT}")

    def read_receipt(self) -> Receipt | None:
        """Read the receipt, whatever became of its files; None if it is missing or damaged."""
        return read_intact_document(self.receipt_path, Receipt)


@dataclass(frozen=True)
class Damage:
    """A file that is damaged or missing.

    Attributes:
        path: the file.
        problem: what is wrong with it.
        part: the part it belongs to; None for a document of the whole store.
        receipt: the document that records the file, if it is a file of a trial or of a plan, which
            does not exist without it.
    """

    path: str
    problem: str
    part: Part | None = None
    receipt: str = ""


class Layout:
    """Where a store keeps its parts.

    Args:
        folder: the store.
        kind: `shards`, `features` or `predictions`.
        store_format: its format.
        manifest: its manifest; None if the store is not finished or the manifest is damaged. Then
            the parts are those that have a receipt.
    """

    def __init__(
        self, folder: str, kind: str, store_format: int, manifest: Mapping[str, Any] | None
    ) -> None:
        self._folder, self._kind, self._format = folder, kind, store_format
        self._manifest = manifest
        self.columns = self._find_columns() if kind == "features" else {}

    def shards(self) -> list[str]:
        """Return the names of the shards, in order."""
        if self._manifest is not None:
            return [shard["name"] for shard in self._manifest["shards"]]
        folders = [self._folder]
        if self._kind == "features":
            folders = [self._table(name).receipts for name in (SAMPLES, *self.columns)]
        names = {name for folder in folders for name in files.list_names(folder)}
        return sorted(n.removesuffix(_RECEIPT) for n in names if n.endswith(_RECEIPT))

    def parts(self, shards: Sequence[str]) -> Iterator[Part]:
        """Yield the parts of some shards that must exist, or that do if the manifest is missing."""
        manifest = self._manifest or {}
        entries = {shard["name"]: shard for shard in manifest.get("shards", ())}
        for shard in shards:
            for part in self._parts_of_shard(shard, entries.get(shard, {}), manifest):
                if self._manifest is not None or files.exists(part.receipt_path):
                    yield part

    def _parts_of_shard(
        self, shard: str, entry: Mapping[str, Any], manifest: Mapping[str, Any]
    ) -> Iterator[Part]:
        config_hash = entry.get("config_hash", manifest.get("config_hash", ""))
        if self._kind != "features":
            yield Part(self._kind, shard, self._folder, self._folder, config_hash, entry)
            return
        samples = self._part(SAMPLES, shard, config_hash, entry)
        if not entry and (receipt := samples.read_receipt()):
            entry = {"keys_sha256": receipt.keys_sha256}
        yield samples
        for name, column in self.columns.items():
            yield self._part(name, shard, column.fingerprint, entry, column)

    def _part(
        self,
        name: str,
        shard: str,
        config_hash: str,
        entry: Mapping[str, Any],
        column: Column | None = None,
    ) -> Part:
        table = self._table(name)
        root = table.folder if self._format == 1 else self._folder
        return Part(name, shard, table.receipts, root, config_hash, entry, column)

    def _table(self, name: str) -> TableFiles:
        return TableFiles(self._folder, name, self._format)

    def column_path(self, name: str) -> str:
        """Return the path of the description of a column."""
        return files.join(self._table(name).receipts, COLUMN_FILE)

    def _find_columns(self) -> dict[str, Column]:
        """Return the columns of the manifest, else those with an intact description."""
        if self._manifest is not None:
            path = files.join(self._folder, MANIFEST_FILE)
            return parse_columns(self._manifest["columns"], path)
        folder = self._folder if self._format == 1 else files.join(self._folder, COLUMNS)
        columns = {}
        for name in files.list_names(folder):
            path = self.column_path(name)
            description = read_intact_document(path, dict[str, Any])
            try:
                column = check_value(description, Column, path)
            except DamagedFileError:
                continue
            if column.name == name:
                columns[name] = column
        return columns


def sample_shards(shards: Sequence[str], fraction: float, seed: int) -> list[str]:
    """Return a random fraction of shards, at least one, in order."""
    if fraction >= 1 or not shards:
        return list(shards)
    count = max(1, round(fraction * len(shards)))
    return sorted(random.Random(seed).sample(list(shards), count))  # noqa: S311 - not a secret
