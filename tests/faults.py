"""What tests of trouble share: kills, stores and servers that fail, errors told in a line."""

import random
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image


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


class Pictures(ThreadingHTTPServer):
    """A web server for one picture under any name. It answers so many requests and lets all
    others wait until it is released: a run can be met in the middle of its work, however fast it
    is."""

    daemon_threads = True

    def __init__(self, picture):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.picture = picture
        self.missing = set()
        self.free = threading.Event()
        self.free.set()
        self.answered = 0
        self._left = 0
        self._lock = threading.Lock()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def hold_after(self, answers):
        self._left, self.answered = answers, 0
        self.free.clear()

    def admit(self):
        with self._lock:
            self._left -= 1
            held = self._left < 0
        if held:
            self.free.wait()
        self.answered += 1

    def handle_error(self, request, client_address):
        """Who asked was killed."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and picture go out together

    def do_GET(self):
        if self.path.removeprefix("/") in self.server.missing:
            return self.send_error(404)
        self.server.admit()
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.picture)))
        self.end_headers()
        self.wfile.write(self.server.picture)

    def log_message(self, *arguments):
        pass


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


def noisy_table(folder, number, side):
    """A table of small pictures of noise with a text each; of fifty, one is broken and the next is
    not there."""
    noise = np.random.default_rng(7).integers(0, 256, (number, side, side, 3), dtype=np.uint8)
    lines = []
    for n, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{n:03}.png")
        lines.append(f"{n:03}.png,words of {n},{n % 5}\n")
    for n in range(0, number, 50):
        (folder / f"{n:03}.png").write_bytes(b"no picture")
        (folder / f"{n + 1:03}.png").unlink()
    (folder / "table.csv").write_text("file_name,text,label\n" + "".join(lines))
    return folder / "table.csv"
