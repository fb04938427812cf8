"""Serve the files of a folder on the loopback: python -m benchmarks.sharders.image_server FOLDER.

The program prints its port and serves until it is terminated. It does little per request, because
its time counts against the program that downloads.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.harness.run import REPOSITORY


@contextmanager
def serve_images(folder: Path) -> Iterator[str]:
    """Serve a folder from another process, and yield the address."""
    command = [sys.executable, "-m", "benchmarks.sharders.image_server", str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else short responses wait for a delayed ACK

    def do_GET(self) -> None:
        try:
            file = open(self.path.lstrip("/"), "rb")  # noqa: SIM115
        except OSError:
            self.send_error(404)
            return
        with file:
            self.send_response_only(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            self.connection.sendfile(file)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # the default is 5; more connections would wait for a second


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    server = _Server(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
