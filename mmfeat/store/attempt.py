"""One attempt to make a shard: its files first, then the receipt that commits them."""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from mmfeat.storage import files
from mmfeat.storage.claim import ShardClaim
from mmfeat.storage.conditional import conditional_store
from mmfeat.storage.output_file import OutputFile
from mmfeat.store.receipts import Receipt
from mmfeat.system import progress


class ShardAttempt:
    """Makes the files of a shard and commits them with its receipt.

    An earlier receipt goes before anything is written, so no receipt vouches for files of two
    attempts. After a power cut at any time, the shard has all of its files or no receipt. In an
    object store, a later attempt of another run takes the shard over; see `mmfeat.storage.claim`.

    Args:
        folder: where the receipt is written.
        shard: name of the shard.
        root: folder that the names of files are relative to, if it is not the same.
        table: name of the table in metrics, if the store has several.
        fresh: whether nothing of the shard seems to exist, so that there is nothing to claim.

    Raises:
        ShardTakenError: another run makes the shard; also of `create` and `commit`.
    """

    def __init__(
        self, folder: str, shard: str, root: str = "", table: str = "", *, fresh: bool = False
    ) -> None:
        self._folder, self._root, self._table = folder, root or folder, table
        self._outputs: dict[str, OutputFile] = {}
        path = files.join(folder, f"{shard}_stats.json")
        store = conditional_store(path)
        self._claim = ShardClaim(store, path, fresh=fresh) if store else None
        if not store:
            files.remove_file(path)

    @contextmanager
    def create(self, name: str) -> Iterator[OutputFile]:
        """Create a file of the shard. It appears only if the block ends without an error."""
        upload = self._claim.upload if self._claim else None
        with files.create(files.join(self._root, name), upload) as output:
            yield output
        self._outputs[name] = output

    def commit(self, receipt: Receipt) -> None:
        """List the files in the receipt, wait until they are on disk, and write the receipt."""
        receipt.files = {name: output.info() for name, output in self._outputs.items()}
        folders = {posixpath.dirname(files.join(self._root, name)) for name in self._outputs}
        for folder in folders - {self._folder}:  # that of the receipt is synced with it
            files.sync_folder(folder)
        receipt.write(self._folder, self._claim.commit if self._claim else None)
        progress.METRICS.add(
            {f"{self._table}.{k}" if self._table else k: n for k, n in _count(receipt)}
        )


def _count(receipt: Receipt) -> Iterator[tuple[str, float]]:
    """Yield the metrics of a receipt: name and number."""
    yield "records", receipt.records
    yield "out", receipt.out
    yield "bytes_read", receipt.bytes_read
    yield "bytes_written", sum(info["bytes"] for info in receipt.files.values())
    for reason, number in receipt.rejected.items():
        yield f"rejected.{reason}", number
