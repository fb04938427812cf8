"""A server of S3: that of moto."""

from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)

from tests.object_stores.fault_server import Environ, FaultServer


def make_s3_server() -> FaultServer:
    """Return a server of S3, which is not started. Its buckets are those of the process."""
    app = DomainDispatcherApplication(create_backend_app)
    return FaultServer(app, _describe, _error, MotoRequestHandler)


def _describe(environ: Environ) -> str:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    if method == "GET" and "list-type" in query:
        return f"LIST {path}/{query.get('prefix', [''])[0]}"
    if method == "POST" and "delete" in query:
        return f"DELETE {path}"
    return f"{method} {path}"


def _error(status: str) -> tuple[str, bytes]:
    return "application/xml", (
        b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.'
        b"</Message><RequestId>x</RequestId></Error>"
    )
