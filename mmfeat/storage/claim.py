"""Which of several attempts makes a shard in an object store, which has no locks.

An attempt at a shard of which nothing exists yet creates its files and then its receipt. Each of
these writes fails if the object exists: then another attempt is there, or has died.

In all other cases the attempt claims the shard first. The claim is an object in the place of the
receipt. A later attempt replaces it, and from then on the earlier one cannot change anything:

    1. claim: replace the object in the place of the receipt, whatever version it has
    2. for each file: read its version, check that the claim stands, replace that version
    3. commit: replace the claim by the receipt

If another attempt claims the shard after step 1, step 3 fails. If it does so after the check of
step 2, it has not written the file yet; when it does, the version of step 2 is gone. So a receipt
never vouches for a file of another attempt. An attempt without a claim writes only files that do
not exist. Before another attempt replaces one of them, it claims the shard, so the receipt of the
first attempt cannot be created any more.
"""

import errno
import uuid
from contextlib import suppress

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.storage.conditional import (
    ConditionalStore,
    ObjectChangedError,
    Version,
    expect_version,
)

_TRIES = 3
"""Uploads of a file that an earlier attempt may overtake."""


class ShardTakenError(MmfeatError):
    """Another run makes the shard."""


class ShardClaim:
    """The right of one attempt to make a shard.

    Args:
        store: the object store.
        path: path of the receipt.
        fresh: whether nothing of the shard seems to exist: it is claimed only if that is wrong.

    Raises:
        ShardTakenError: another attempt claimed it at the same moment.
    """

    def __init__(self, store: ConditionalStore, path: str, *, fresh: bool = False) -> None:
        self._store, self._path = store, path
        self._name = files.filesystem(path)[1]
        self._version: Version = None
        self._created = False
        if not fresh:
            self._claim()

    def _claim(self) -> None:
        attempt = uuid.uuid4().hex
        document = {"attempt": attempt}
        # It may have changed by another attempt, or by this one, if the answer was lost.
        with suppress(ObjectChangedError):
            version = self._store.version(self._name)
            files.write_json(self._path, document, expect_version(self._store, version))
        self._version = self._store.version(self._name)
        if attempt.encode() not in self._read():
            raise self._taken()

    def upload(self, file: str, name: str) -> None:
        """Upload a file of the shard.

        Raises:
            ShardTakenError: another attempt has claimed the shard.
        """
        if self._version is None:
            try:
                self._store.upload(file, name, None)
            except ObjectChangedError as error:
                if self._created:  # an attempt with a claim must make all files
                    raise OSError(errno.EAGAIN, "another attempt has written", name) from error
                self._claim()
            else:
                self._created = True
                return
        for _ in range(_TRIES):
            version = self._store.version(name)
            if self._store.version(self._name) != self._version:
                break
            try:
                self._store.upload(file, name, version)
            except ObjectChangedError:
                continue  # an earlier attempt has written it just now
            return
        raise self._taken()

    def commit(self, file: str, name: str) -> None:
        """Upload the receipt, in the place of the claim if there is one.

        Raises:
            ShardTakenError: another attempt has claimed the shard.
        """
        try:
            self._store.upload(file, name, self._version)
        except ObjectChangedError as error:
            with open(file, "rb") as receipt:
                if receipt.read() != self._read():  # equal, if only the answer was lost
                    raise self._taken() from error

    def _read(self) -> bytes:
        try:
            return files.read_bytes(self._path, files.MAX_JSON_BYTES)
        except FileNotFoundError:
            return b""

    def _taken(self) -> ShardTakenError:
        return ShardTakenError(
            f"another run makes the shard of {self._path}",
            cure="Wait until it ends, then run the same command again",
        )
