"""Read the groups that `mmfeat dedup` wrote: key → group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmfeat.records import key_hash
from mmfeat.storage import files
from mmfeat.store import damaged, iter_parquet, open_recorded, read_manifest

KIND = "duplicates"
DUPLICATES_FILE = "duplicates.parquet"


@dataclass(frozen=True)
class DuplicateGroups:
    """The groups of records. It takes 16 bytes per record in a group.

    Attributes:
        sha256: digest of the file of groups.
        hashes: uint64, ascending: hashes of the keys of grouped records.
        groups: uint64: hash of the group of each.
    """

    sha256: str
    hashes: np.ndarray
    groups: np.ndarray

    def find(self, keys: Sequence[str]) -> list[str | None]:
        """Return a text that identifies the group of each record; None outside of groups."""
        if not len(self.hashes):
            return [None] * len(keys)
        wanted = np.array([int(key_hash(key), 16) for key in keys], np.uint64)
        places = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        found = self.hashes[places] == wanted
        return [
            f"{group:016x}" if is_found else None
            for group, is_found in zip(self.groups[places].tolist(), found, strict=True)
        ]


def read_groups(folder: str) -> DuplicateGroups:
    """Read the groups of a finished `mmfeat dedup`.

    Raises:
        MmfeatError: the folder has none.
        DamagedFileError: the file of groups is damaged.
    """
    manifest = read_manifest(folder, KIND)
    path = files.join(folder, DUPLICATES_FILE)
    hashes, groups = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    with open_recorded(folder, DUPLICATES_FILE, manifest) as file:
        for batch in iter_parquet(path, ["__key__", "group"], file=file):
            for name, parts in (("__key__", hashes), ("group", groups)):
                texts = batch[name].to_pylist()
                if not all(isinstance(text, str) for text in texts):
                    raise damaged(path, "a table of texts", f"another value in {name}")
                parts.append(np.array([int(key_hash(text), 16) for text in texts], np.uint64))
    order = np.argsort(keys := np.concatenate(hashes), kind="stable")
    sha256 = str(manifest["files"][DUPLICATES_FILE]["sha256"])
    return DuplicateGroups(sha256, keys[order], np.concatenate(groups)[order])
