"""What tests of trouble share: kills, a store that fails now and then, errors told in a line."""

import random
import signal
import time

from fsspec.implementations.memory import MemoryFileSystem


def one_line_of(text):
    """The one line that tells of the error."""
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if line.startswith("mmfeat: error:")]
    assert len(lines) == 1, text
    return lines[0]


def wait_for(process, condition, seconds=30):
    """Waits for a condition; False where the process ended before."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.001)
    return True


def kill(process):
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


class Flaky(MemoryFileSystem):
    """A store in memory where some calls fail, by chance with a seed, or all that write."""

    protocol = "flaky"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    chance = random.Random(0)
    part = 0.0
    failed = 0
    read_only = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).replace("flaky://", "memory://", 1))

    @classmethod
    def tick(cls, what, writes=False):
        if writes and cls.read_only:
            raise PermissionError(13, "Permission denied", what)
        if cls.chance.random() < cls.part:
            Flaky.failed += 1
            raise OSError(5, "the connection was reset", what)

    def _open(self, path, mode="rb", **options):
        self.tick(path, mode != "rb")
        return super()._open(path, mode, **options)

    def info(self, path, **options):
        self.tick(path)
        return super().info(path, **options)

    def ls(self, path, detail=True, **options):
        self.tick(path)
        return super().ls(path, detail, **options)

    def put_file(self, lpath, rpath, **options):
        self.tick(rpath, writes=True)
        return super().put_file(lpath, rpath, **options)

    def rm(self, path, **options):
        self.tick(path, writes=True)
        return super().rm(path, **options)

    def makedirs(self, path, exist_ok=False):
        self.tick(path, writes=True)
        return super().makedirs(path, exist_ok)


def contents(folder):
    """All files of a folder of the flaky store."""
    return {
        name.removeprefix(folder): file.getvalue()
        for name, file in Flaky.store.items()
        if name.startswith(f"{folder}/") and not name.endswith("_stats.json")
    }
