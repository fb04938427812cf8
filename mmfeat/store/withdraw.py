"""Withdraw a run without any record, so that another one can be made in its place."""

import os
import posixpath
from collections.abc import Iterable
from contextlib import suppress

from mmfeat.storage import files
from mmfeat.store.directory import CONFIG_FILE
from mmfeat.store.receipts import read_receipt


def withdraw_run(folder: str, shards: Iterable[str]) -> None:
    """Remove what a run has written: receipts, their files, and the configuration.

    Args:
        folder: the store, which has no manifest.
        shards: names of its shards.
    """
    for shard in shards:
        receipt = read_receipt(folder, shard)
        files.remove_file(files.join(folder, f"{shard}_stats.json"))
        for name in receipt.files if receipt else ():
            files.remove_file(files.join(folder, name))
            _remove_empty_folders(folder, posixpath.dirname(name))
    files.remove_file(files.join(folder, CONFIG_FILE))


def _remove_empty_folders(folder: str, name: str) -> None:
    """Remove a folder in a local store, and those around it, if they are empty."""
    while name and files.is_local(folder):
        with suppress(OSError):  # it is not empty
            os.rmdir(files.join(folder, name))
        name = posixpath.dirname(name)
