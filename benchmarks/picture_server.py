"""Serves the files of a folder on the loopback: python -m benchmarks.picture_server FOLDER.

Prints its port, then serves until it is ended. It does as little as it can for each request, as
its time counts against the program that downloads.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or small answers wait for the other side's delayed ACK

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
    request_queue_size = 1024  # 5 by default: connections beyond it would wait for a second


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    server = _Server(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
