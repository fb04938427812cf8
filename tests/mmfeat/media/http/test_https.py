"""Certificates are checked against the name of a server, although its address is connected to."""

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mmfeat.errors import RecordError
from tests.mmfeat.media.http.web_server import make_client

x509 = pytest.importorskip("cryptography.x509")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a picture, say")

    def log_message(self, *arguments: Any) -> None:
        pass


def write_certificate(path: Path, name: str) -> None:
    """Write a key and a certificate for a name, signed by itself."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(encoding))


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Port of a server whose certificate is for pictures.test. Every name is this machine."""
    certificate = tmp_path / "certificate.pem"
    write_certificate(certificate, "pictures.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *rest: getaddrinfo("127.0.0.1", *rest))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()


def test_the_certificate_is_that_of_the_name(port: int) -> None:
    client = make_client(retries=0)
    assert client.get(f"https://pictures.test:{port}/a.png") == b"a picture, say"
    with pytest.raises(RecordError, match="certificate") as caught:
        client.get(f"https://other.test:{port}/a.png")
    assert caught.value.reason == "unreadable"
