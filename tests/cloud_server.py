"""As much of Google's and Azure's object stores as a lease needs, on loopback: conditions, and a clock of their own."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

ACCOUNT = "devstoreaccount1"


@dataclass(frozen=True)
class Stored:
    data: bytes
    version: int
    written: datetime

    @property
    def etag(self) -> str:
        return f'"0x{self.version:x}"'


class Refused(Exception):
    """A condition that does not hold, with the status that the store answers."""


class CloudServer:
    """The objects of one store, BUCKET/KEY -> what is stored.

    Attributes:
        clock: what the store's clock is ahead of this machine's.
        refused: how many writes were refused for their condition.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.clock = timedelta()
        self.refused = 0
        self.lock = threading.Lock()
        self._versions = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def gcs_options(self) -> dict[str, Any]:
        """For gcsfs."""
        return {"endpoint_url": self.url, "token": "anon"}

    @property
    def azure_options(self) -> dict[str, Any]:
        """For adlfs."""
        key = base64.b64encode(b"no secret").decode()
        return {
            "connection_string": f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
            f"BlobEndpoint={self.url}/{ACCOUNT};"
        }

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock

    def put(self, name: str, data: bytes, match: str | None = None, *, only_new: bool = False) -> Stored:
        """Store an object if its version is `match`, 0 for none at all; None for whatever there is."""
        with self.lock:
            old = self.objects.get(name)
            if only_new and old:
                self.refused += 1
                raise Refused
            if match is not None and match not in ((str(old.version), old.etag) if old else ("0",)):
                self.refused += 1
                raise Refused
            self._versions += 1
            self.objects[name] = Stored(data, self._versions, self.now())
            return self.objects[name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(server: CloudServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                if url.path.startswith(f"/{ACCOUNT}/"):
                    self.azure(unquote(url.path.removeprefix(f"/{ACCOUNT}/")), body)
                else:
                    self.google(url.path, body)
            except Refused:
                is_azure_create = self.headers.get("If-None-Match") == "*"
                self.reply(409 if is_azure_create else 412, b"", {"x-ms-error-code": "BlobAlreadyExists"})

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def google(self, path: str, body: bytes) -> None:
            kind, _, rest = path.partition("/storage/v1/b/")
            bucket, _, key = rest.partition("/o")
            name = f"{bucket}/{unquote(key.removeprefix('/'))}"
            if kind == "/upload":
                key, data = self.query.get("name", ""), body
                if self.query["uploadType"] == "multipart":
                    _, record, content, _ = body.split(b"--==0==")
                    key = json.loads(record.partition(b"\n\n")[2])["name"]
                    data = content.partition(b"\n\n")[2].removesuffix(b"\n")
                name = f"{bucket}/{key}"
                server.put(name, data, self.query.get("ifGenerationMatch"))
                self.reply_json(_record(name, server.objects[name]))
            elif bucket.endswith("/storageLayout"):
                self.reply_json({"locationType": "region"})
            elif not key:
                prefix = f"{bucket}/{self.query.get('prefix', '')}"
                below = sorted(name for name in server.objects if name.startswith(prefix))
                self.reply_json({"items": [_record(name, server.objects[name]) for name in below]})
            elif (stored := server.objects.get(name)) is None:
                self.reply(404, b"{}", {})
            elif self.command == "DELETE":
                del server.objects[name]
                self.reply(204, b"", {})
            elif self.query.get("alt") == "media":
                self.reply_data(stored, {})
            else:
                self.reply_json(_record(name, stored))

        def azure(self, name: str, body: bytes) -> None:
            stored = server.objects.get(name)
            if self.query.get("comp") == "list":
                listing = _listing(name, self.query.get("prefix", ""), server.objects)
                self.reply(200, listing, {"Content-Type": "application/xml"})
            elif self.command == "PUT":
                only_new = self.headers.get("If-None-Match") == "*"
                stored = server.put(name, body, self.headers.get("If-Match"), only_new=only_new)
                self.reply(201, b"", {"ETag": stored.etag, "Last-Modified": _date(stored.written)})
            elif stored is None:
                self.reply(404, b"", {"x-ms-error-code": "BlobNotFound"})
            elif self.command == "DELETE":
                del server.objects[name]
                self.reply(202, b"", {})
            else:
                dates = {"Last-Modified": _date(stored.written), "x-ms-creation-time": _date(stored.written)}
                self.reply_data(stored, {"ETag": stored.etag, "x-ms-blob-type": "BlockBlob", **dates})

        def reply_json(self, record: Any) -> None:
            self.reply(200, json.dumps(record).encode(), {"Content-Type": "application/json"})

        def reply_data(self, stored: Stored, headers: Mapping[str, str]) -> None:
            span = self.headers.get("x-ms-range") or self.headers.get("Range")
            if not span or self.command == "HEAD":
                self.reply(200, stored.data, headers)
                return
            first, _, last = span.removeprefix("bytes=").partition("-")
            part = stored.data[int(first) : int(last or len(stored.data)) + 1]
            content_range = f"bytes {first}-{int(first) + len(part) - 1}/{len(stored.data)}"
            self.reply(206, part, {"Content-Range": content_range, **headers})

        def reply(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
            self.send_response_only(status)
            fields = {"Date": _date(server.now()), **headers, "Content-Length": str(len(data))}
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler


def _record(name: str, stored: Stored) -> dict[str, Any]:
    bucket, _, key = name.partition("/")
    times = dict.fromkeys(("updated", "timeCreated"), stored.written.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    return {"bucket": bucket, "name": key, "size": str(len(stored.data)), "generation": str(stored.version), **times}


def _listing(container: str, prefix: str, objects: Mapping[str, Stored]) -> bytes:
    blobs = "".join(
        f"<Blob><Name>{escape(name.removeprefix(f'{container}/'))}</Name><Properties>"
        f"<Content-Length>{len(stored.data)}</Content-Length><Etag>{stored.etag}</Etag>"
        f"<Last-Modified>{_date(stored.written)}</Last-Modified><BlobType>BlockBlob</BlobType></Properties></Blob>"
        for name, stored in sorted(objects.items())
        if name.startswith(f"{container}/{prefix}")
    )
    head = '<?xml version="1.0" encoding="utf-8"?>'
    return f'{head}<EnumerationResults ContainerName="{container}"><Blobs>{blobs}</Blobs></EnumerationResults>'.encode()


def _date(time: datetime) -> str:
    return format_datetime(time.astimezone(UTC), usegmt=True)
