"""One attempt to make a shard: its files first, then the receipt that commits them."""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from mmfeat.store import files
from mmfeat.store.files import OutputFile
from mmfeat.store.receipts import Receipt


class ShardAttempt:
    """Makes the files of a shard and commits them with its receipt.

    An earlier receipt is removed before anything is written, so no receipt vouches for files of
    two attempts. After a power cut at any time, the shard has all of its files or no receipt.

    Args:
        folder: where the receipt is written.
        shard: name of the shard.
        root: folder that the names of files are relative to, if it is not the same.
    """

    def __init__(self, folder: str, shard: str, root: str = "") -> None:
        self._folder, self._root = folder, root or folder
        self._outputs: dict[str, OutputFile] = {}
        files.remove(files.join(folder, f"{shard}_stats.json"))

    @contextmanager
    def create(self, name: str) -> Iterator[OutputFile]:
        """Create a file of the shard. It appears only if the block ends without an error."""
        with files.create(files.join(self._root, name)) as output:
            yield output
        self._outputs[name] = output

    def commit(self, receipt: Receipt) -> None:
        """List the files in the receipt, wait until they are on disk, and write the receipt."""
        receipt.files = {name: output.info() for name, output in self._outputs.items()}
        folders = {posixpath.dirname(files.join(self._root, name)) for name in self._outputs}
        for folder in folders - {self._folder}:  # that of the receipt is synced with it
            files.sync_folder(folder)
        receipt.write(self._folder)
