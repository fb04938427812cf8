"""An object store in memory with conditional writes, and a way to interleave its clients."""

import itertools
import threading

from fsspec.implementations.memory import MemoryFileSystem

from mmfeat.storage.conditional import ConditionalStore


class VersionedFileSystem(MemoryFileSystem):
    """Every object has a version, and uploads may expect one.

    `before_call` is called before each call, so that a test decides who goes next.
    """

    protocol = "versioned"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    versions = {}  # noqa: RUF012
    numbers = itertools.count(1)
    before_call = staticmethod(lambda: None)
    lose_answers = 0
    """How many of the next uploads succeed without saying so."""

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).replace("versioned://", "memory://", 1))

    def info(self, path, **options):
        self.before_call()
        found = super().info(path, **options)
        version = self.versions.get(self._strip_protocol(path))
        return found | ({"version": version} if version else {})

    def _open(self, path, mode="rb", **options):
        if mode == "rb":
            self.before_call()
        return super()._open(path, mode, **options)

    def put_file(self, lpath, rpath, mode="overwrite", **options):
        with open(lpath, "rb") as file:
            self._upload(file.read(), rpath, create=mode == "create")

    def replace(self, content, rpath, expected):
        self._upload(content, rpath, expected=expected)

    def _upload(self, content, rpath, create=False, expected=None):
        self.before_call()
        path = self._strip_protocol(rpath)
        present = self.versions.get(path) if path in self.store else None
        if (create and present) or (expected and present != expected):
            raise FileExistsError(path)
        self.pipe_file(path, content)
        self.versions[path] = str(next(self.numbers))
        if VersionedFileSystem.lose_answers:
            VersionedFileSystem.lose_answers -= 1
            self._upload(content, rpath, create, expected)  # as clients do that retry

    def rm(self, path, **options):
        self.before_call()
        return super().rm(path, **options)


class VersionedStore(ConditionalStore):
    version_key = "version"

    def _replace(self, content, name, version):
        self._fs.replace(content, name, version)


class Interleaving:
    """Runs clients in threads, one call at a time, in a given order.

    Args:
        order: number of the client that makes the next call; after the last, the first live client.
        kills: client → number of its call before which it dies.
        after_call: called between two calls.
    """

    def __init__(self, order, kills=None, after_call=lambda: None):
        self._order, self._kills, self._after_call = list(order), kills or {}, after_call
        self._turns, self._calls = [], {}
        self._back = threading.Semaphore(0)
        self._local = threading.local()
        self._alive = set()

    def run(self, clients):
        """Run functions to their ends; an exception ends its client."""
        self._turns = [threading.Semaphore(0) for _ in clients]
        self._alive = set(range(len(clients)))
        self.errors = {}
        threads = [
            threading.Thread(target=self._run_client, args=(number, client), daemon=True)
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        while self._alive:
            number = self._order.pop(0) if self._order else min(self._alive)
            if number in self._alive:
                self._turns[number].release()
                self._back.acquire()
                self._after_call()
        for thread in threads:
            thread.join()

    def before_call(self):
        """Wait for the turn of the calling client."""
        number = getattr(self._local, "number", None)
        if number is None:
            return
        if self._calls[number]:
            self._back.release()
            self._turns[number].acquire()
        self._calls[number] += 1
        if self._calls[number] == self._kills.get(number):
            raise KilledError

    def _run_client(self, number, client):
        self._local.number, self._calls[number] = number, 0
        self._turns[number].acquire()
        try:
            client()
        except BaseException as error:
            self.errors[number] = error
        self._alive.discard(number)
        self._back.release()


class KilledError(BaseException):
    """The client is dead."""
