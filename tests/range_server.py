"""A web server on loopback that logs which ranges it was asked for, and fails as web servers do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


class RangeServer:
    """Serves `files`, path -> bytes.

    Attributes:
        files: what is served; may be changed at any time.
        headers: sent with every file, such as `ETag` or `Last-Modified`.
        knows_ranges: False for a server such as Python's own, that always sends whole files.
        status: `status(method, path)` is sent in place of an answer, if it is not 0.
        cut: a GET ends after so many bytes of its body, if it is not 0.
        requests: (method, path, range) of every request.
        sent: the bytes of bodies that were sent.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.knows_ranges = True
        self.status: Callable[[str, str], int] = lambda method, path: 0
        self.cut = 0
        self.requests: list[tuple[str, str, str]] = []
        self.sent = 0
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def reply_to(self, method: str, path: str, body: bytes) -> Any:
        """JSON to answer with in place of a file; None for none."""

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(server: RangeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path, span = self.path.partition("?")[0], self.headers.get("Range", "")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if (reply := server.reply_to(self.command, path, body)) is not None:
                self._reply(200, json.dumps(reply).encode(), {"Content-Type": "application/json"}, counted=False)
                return
            with server.lock:
                server.requests.append((self.command, path, span))
                status = server.status(self.command, path)
            data = server.files.get(path)
            if status or data is None:
                self._reply(status or 404, b"", {})
            elif not self._is_as_wanted():
                self._reply(412, b"", {})
            elif span and server.knows_ranges:
                start, end = _limits(span, len(data))
                if start >= len(data):
                    self._reply(416, b"", {})
                else:
                    self._reply(206, data[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})
            else:
                self._reply(200, data, {})

        def _is_as_wanted(self) -> bool:
            match, date = self.headers.get("If-Match"), self.headers.get("If-Unmodified-Since")
            return (not match or match == server.headers.get("ETag")) and (
                not date or date == server.headers.get("Last-Modified")
            )

        def _reply(self, status: int, data: bytes, headers: dict[str, str], counted: bool = True) -> None:
            kept = data[: server.cut] if server.cut and self.command == "GET" else data
            try:
                self.send_response_only(status)
                for name, value in {**headers, **server.headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    for start in range(0, len(kept), 1 << 16):
                        block = kept[start : start + (1 << 16)]
                        with server.lock:  # before it is sent, so that whoever received it finds it counted
                            server.sent += len(block) if counted else 0
                        self.wfile.write(block)
            except OSError:
                self.close_connection = True  # whoever asked has hung up
            if len(kept) < len(data):
                self.close_connection = True

    return Handler


def _limits(span: str, size: int) -> tuple[int, int]:
    first, _, last = span.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1 if last else size, size)
