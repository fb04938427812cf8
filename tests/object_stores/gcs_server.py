"""A server of the JSON API of Cloud Storage, in the memory of this process.

It has what gcsfs asks for: listings in pages, whole objects and ranges, uploads in one request and
in pieces, and the condition `ifGenerationMatch`. An object appears when its last byte is there.
https://cloud.google.com/storage/docs/json_api
"""

import itertools
import json
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import md5
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from werkzeug.exceptions import HTTPException, NotFound, PreconditionFailed
from werkzeug.wrappers import Request, Response

from tests.object_stores.fault_server import Environ, FaultServer

_PATH = re.compile(
    r"/(?P<kind>upload/|download/|)storage/v1/b/(?P<bucket>[^/]+)(?P<listing>/o(?:/(?P<name>.+))?)?"
)
_RANGE = re.compile(r"bytes (?P<start>\d+)-(?P<end>\d+)/(?P<size>\d+|\*)")
_PAGE = 1000


@dataclass
class _Upload:
    """An upload in pieces.

    Attributes:
        name: the object.
        condition: generation that the object must have; None = any.
        content: what has arrived.
        facts: those of the object, once it is there.
    """

    name: str
    condition: str | None
    content: bytearray = field(default_factory=bytearray)
    facts: dict[str, str] | None = None


class GcsApp:
    """The application, for one bucket of any name.

    Attributes:
        objects: name → content.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._facts: dict[str, dict[str, str]] = {}
        self._uploads: dict[str, _Upload] = {}
        self._numbers = itertools.count(1)
        self._lock = Lock()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        request = Request(environ)
        request.get_data()
        with self._lock:
            try:
                response = self._answer(request)
            except HTTPException as error:
                response = _json({"error": {"code": error.code, "message": error.name}}, error.code)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise NotFound
        kind, bucket, listing, name = match.group("kind", "bucket", "listing", "name")
        if kind == "upload/":
            return self._upload(request, bucket)
        if not listing:
            return _json({"kind": "storage#bucket", "name": bucket})
        if name is None:
            return self._list(request)
        if name not in self.objects:
            raise NotFound
        if request.method == "DELETE":
            del self.objects[name], self._facts[name]
            return Response(status=204)
        if kind != "download/":
            return _json(self._facts[name])
        response = Response(self.objects[name], mimetype="application/octet-stream")
        size = len(self.objects[name])
        return response.make_conditional(request, accept_ranges=True, complete_length=size)

    def _list(self, request: Request) -> Response:
        """List objects, and the folders in which there are others, in pages of equal names."""
        query = request.args
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries: dict[str, dict[str, str] | None] = {}
        for name, facts in sorted(self._facts.items()):
            if name.startswith(prefix):
                head, found, _ = name[len(prefix) :].partition(delimiter or "\0")
                entries[f"{prefix}{head}{found}"] = None if found else facts
        start = int(query.get("pageToken", 0))
        end = start + min(int(query.get("maxResults", _PAGE)), _PAGE)
        page = dict(itertools.islice(entries.items(), start, end))
        answer: dict[str, Any] = {"kind": "storage#objects"}
        answer["items"] = [facts for facts in page.values() if facts]
        answer["prefixes"] = [name for name, facts in page.items() if facts is None]
        if end < len(entries):
            answer["nextPageToken"] = str(end)
        return _json(answer)

    def _upload(self, request: Request, bucket: str) -> Response:
        query, body = request.args, request.get_data()
        if upload := self._uploads.get(query.get("upload_id", "")):
            return self._continue(request, upload)
        condition = query.get("ifGenerationMatch")
        if query["uploadType"] == "media":
            return _json(self._store(query["name"], body, condition))
        if query["uploadType"] == "multipart":
            metadata, body = _split_multipart(body)
            return _json(self._store(metadata["name"], body, condition))
        number = str(next(self._numbers))
        self._uploads[number] = _Upload(query["name"], condition)
        url = f"{request.host_url}upload/storage/v1/b/{bucket}/o"
        return Response(headers={"Location": f"{url}?uploadType=resumable&upload_id={number}"})

    def _continue(self, request: Request, upload: _Upload) -> Response:
        """Take a piece of an upload, which may have arrived before."""
        if request.method == "DELETE":
            upload.content.clear()
            return Response(status=499)
        match = _RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if match and not upload.facts:
            start, end = int(match["start"]), int(match["end"]) + 1
            if start <= len(upload.content):
                upload.content[start:end] = request.get_data()
            if match["size"] == str(len(upload.content)):
                upload.facts = self._store(upload.name, bytes(upload.content), upload.condition)
        if upload.facts:
            return _json(upload.facts)
        return Response(status=308, headers={"Range": f"bytes=0-{len(upload.content) - 1}"})

    def _store(self, name: str, content: bytes, condition: str | None) -> dict[str, str]:
        present = self._facts.get(name, {"generation": "0"})["generation"]
        if condition not in (None, present):
            raise PreconditionFailed
        self.objects[name] = content
        self._facts[name] = {
            "kind": "storage#object",
            "name": name,
            "bucket": "bucket",
            "size": str(len(content)),
            "generation": str(next(self._numbers)),
            "md5Hash": b64encode(md5(content).digest()).decode(),
        }
        return self._facts[name]


def make_gcs_server(app: GcsApp) -> FaultServer:
    """Return a server of Cloud Storage, which is not started."""
    return FaultServer(app, _describe, _error)


def _describe(environ: Environ) -> str:
    method, match = environ["REQUEST_METHOD"], _PATH.fullmatch(environ["PATH_INFO"])
    query = parse_qs(environ["QUERY_STRING"])
    if match is None:
        return f"{method} {environ['PATH_INFO']}"
    if match["kind"] == "upload/":
        return f"PUT {match['bucket']}"
    if method == "GET" and match["listing"] and not match["name"]:
        return f"LIST {match['bucket']}/{query.get('prefix', [''])[0]}"
    if method == "GET" and not match["kind"]:
        method = "HEAD"  # of S3: the facts about an object
    return f"{method} {match['bucket']}/{match['name']}"


def _error(status: str) -> tuple[str, bytes]:
    return "application/json", json.dumps({"error": {"code": int(status)}}).encode()


def _json(facts: dict[str, Any], status: int | None = 200) -> Response:
    return Response(json.dumps(facts), status, mimetype="application/json")


def _split_multipart(body: bytes) -> tuple[dict[str, str], bytes]:
    """Return the facts and the content of an upload in one request."""
    boundary, _, rest = body.partition(b"\n")
    metadata, _, content = rest.partition(b"\n" + boundary + b"\n")
    content = content.rpartition(b"\n" + boundary + b"--")[0]
    return json.loads(metadata.split(b"\n\n", 1)[1]), content.split(b"\n\n", 1)[1]
