"""Helpers for tests of faults: killed processes, failing storage, a slow server, error messages."""

import random
import signal
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from tests.figures import COUNTS


def assert_one_error(result):
    """Assert that a command failed with one error line, and return the line."""
    assert result.returncode == 1, result.stdout
    return assert_one_error_line(result.stderr)


def assert_one_error_line(text):
    """Assert that the text has one error line and no traceback, and return the line."""
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if line.startswith("mmfeat: error:")]
    assert len(lines) == 1, text
    return lines[0]


def wait_for(process, condition, seconds=120):
    """Wait for a condition. Return False if the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, "timeout"
        time.sleep(0.001)
    return True


def kill(process):
    """Kill a process. Return False if it had already ended."""
    process.send_signal(signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    COUNTS["killed commands"] += killed
    return killed


class PictureServer(ThreadingHTTPServer):
    """A web server that returns one picture under any name.

    After a number of answers it pauses until it is released. So a test meets a run in the middle of
    its work, however fast the run is.
    """

    daemon_threads = True

    def __init__(self, picture):
        super().__init__(("127.0.0.1", 0), _PictureHandler)
        self.picture = picture
        self.missing = set()
        self.statuses = {}
        """Name → the HTTP status that its requests get."""
        self.headers = {}
        """Name → headers of its answers."""
        self.requests = Counter()
        self.released = threading.Event()
        self.released.set()
        self.answered = 0
        self._remaining = 0
        self._lock = threading.Lock()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def pause_after(self, answers):
        self._remaining, self.answered = answers, 0
        self.released.clear()

    def wait_if_paused(self):
        with self._lock:
            self._remaining -= 1
            paused = self._remaining < 0
        if paused:
            self.released.wait()
        self.answered += 1

    def handle_error(self, request, client_address):
        """Ignore errors of clients that were killed."""


class _PictureHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and picture are sent together

    def do_GET(self):
        name = self.path.removeprefix("/")
        self.server.requests[name] += 1
        status = 404 if name in self.server.missing else self.server.statuses.get(name)
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.server.wait_if_paused()
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.picture)))
        for header in self.server.headers.get(name, {}).items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(self.server.picture)

    def log_message(self, *arguments):
        pass


class FlakyFileSystem(MemoryFileSystem):
    """A file system in memory. Its calls fail at random (with a seed), or all its writes fail."""

    protocol = "flaky"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    rng = random.Random(0)
    error_rate = 0.0
    errors = 0
    read_only = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).replace("flaky://", "memory://", 1))

    @classmethod
    def maybe_fail(cls, path, writes=False):
        if writes and cls.read_only:
            raise PermissionError(13, "Permission denied", path)
        if cls.rng.random() < cls.error_rate:
            FlakyFileSystem.errors += 1
            raise OSError(5, "the connection was reset", path)

    def _open(self, path, mode="rb", **options):
        self.maybe_fail(path, mode != "rb")
        return super()._open(path, mode, **options)

    def info(self, path, **options):
        self.maybe_fail(path)
        return super().info(path, **options)

    def ls(self, path, detail=True, **options):
        self.maybe_fail(path)
        return super().ls(path, detail, **options)

    def put_file(self, lpath, rpath, **options):
        self.maybe_fail(rpath, writes=True)
        return super().put_file(lpath, rpath, **options)

    def rm(self, path, **options):
        self.maybe_fail(path, writes=True)
        return super().rm(path, **options)

    def makedirs(self, path, exist_ok=False):
        self.maybe_fail(path, writes=True)
        return super().makedirs(path, exist_ok)


def flaky_files(folder):
    """Return all files of a folder of the flaky file system, without receipts."""
    return {
        name.removeprefix(folder): file.getvalue()
        for name, file in FlakyFileSystem.store.items()
        if name.startswith(f"{folder}/") and not name.endswith("_stats.json")
    }


def write_noise_table(folder, records, side):
    """Write a table of small noise pictures with texts, and return its path.

    Of every fifty pictures, one is broken and one is missing.
    """
    noise = np.random.default_rng(7).integers(0, 256, (records, side, side, 3), dtype=np.uint8)
    lines = []
    for n, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{n:03}.png")
        lines.append(f"{n:03}.png,words of {n},{n % 5}\n")
    for n in range(0, records, 50):
        (folder / f"{n:03}.png").write_bytes(b"no picture")
        (folder / f"{n + 1:03}.png").unlink()
    (folder / "table.csv").write_text("file_name,text,label\n" + "".join(lines))
    return folder / "table.csv"
