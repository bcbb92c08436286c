"""As much of S3 as a store of documents needs, in memory: PUT once, GET, list, delete many. It checks no signature."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

BUCKET = "stukken"


class S3Server(ThreadingHTTPServer):
    """Keeps objects by their keys; `refuses` answers everything with this status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.asked: list[str] = []
        self.refuses: int | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Server

    def log_message(self, *_: object) -> None:
        pass

    def _key(self) -> str:
        return urlsplit(self.path).path.removeprefix(f"/{BUCKET}").lstrip("/")

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _begins(self) -> bytes | None:
        """Read the request; nothing where it was refused."""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        if self.server.refuses is None:
            return content
        self._answer(self.server.refuses, b"<Error><Code>AccessDenied</Code></Error>")
        return None

    def do_PUT(self) -> None:
        content = self._begins()
        if content is None:
            return
        if self.headers.get("If-None-Match") == "*" and self._key() in self.server.objects:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        self.server.objects[self._key()] = (content, datetime.now(UTC))
        self._answer(200, ETag=f'"{hashlib.md5(content).hexdigest()}"')

    def do_GET(self) -> None:
        if self._begins() is None:
            return
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" in asked:
            self._answer(200, self._listing(asked.get("prefix", [""])[0]), Content_Type="application/xml")
        elif (found := self.server.objects.get(self._key())) is not None:
            content, at = found
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            self._answer(200, content, ETag=etag, Last_Modified=format_datetime(at, usegmt=True))
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _listing(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>x</ETag><Size>{len(content)}</Size></Contents>"
            for key, (content, at) in sorted(self.server.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def do_POST(self) -> None:
        content = self._begins()
        if content is None:
            return
        keys = re.findall(r"<Key>([^<]+)</Key>", content.decode())
        for key in keys:
            self.server.objects.pop(key, None)
        gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{gone}</DeleteResult>".encode(), Content_Type="application/xml")
