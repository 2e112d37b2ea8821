"""A proxy before the mock S3 server that fails as networks and object stores do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}

Fault = Callable[[str, str, str], str]


class FaultyProxy:
    """Passes requests on to `endpoint`, or lets them fail.

    `fault(method, path, range)` says how: `503`, `500`, `403`, `reset` (the connection is closed before an
    answer), `cut` (in the middle of its body), or an empty string for not at all.
    """

    def __init__(self, endpoint: str) -> None:
        self.host = endpoint.removeprefix("http://")
        self.fault: Fault = lambda method, path, span: ""
        self.faults: list[tuple[str, str]] = []
        self.requests: list[tuple[str, str, str]] = []
        self.before_answer: Callable[[str, str], None] = lambda method, path: None
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def always(kind: str, method: str) -> Fault:
    """Let all requests of a method fail."""
    return lambda asked, path, span: kind if asked == method else ""


def once_each(*kinds: str) -> Fault:
    """Let every request fail the first time it is made, in each of these ways in turn."""
    met: dict[tuple[str, str, str], str] = {}

    def fault(method: str, path: str, span: str) -> str:
        if (method, path, span) in met:
            return ""
        met[method, path, span] = kinds[len(met) % len(kinds)]
        return met[method, path, span]

    return fault


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _pass_on(self) -> None:
            body = self._body()
            span = self.headers.get("Range", "")
            with proxy.lock:
                proxy.requests.append((self.command, self.path, span))
                kind = proxy.fault(self.command, self.path, span)
                if kind:
                    proxy.faults.append((kind, f"{self.command} {self.path} {span}"))
            proxy.before_answer(self.command, self.path)
            if kind == "reset":
                self.close_connection = True
                self.connection.close()
            elif kind.isdecimal():
                self._reply(int(kind), {"Content-Type": "application/xml"}, BUSY if kind == "503" else b"", None)
            else:
                self._forward(body, cut=kind == "cut")

        def _body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                data = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return data
            if self.headers.get("Expect") == "100-continue":
                pass  # the base class has answered that already
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _forward(self, body: bytes, cut: bool) -> None:
            upstream = http.client.HTTPConnection(proxy.host, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            headers["Content-Length"] = str(len(body))
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            data = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
            length = answer.getheader("Content-Length")
            upstream.close()
            self._reply(
                answer.status, kept, data, -(-len(data) // 2) if cut and self.command == "GET" else None, length
            )

        def _reply(
            self, status: int, headers: dict[str, str], data: bytes, cut: int | None, length: str | None = None
        ) -> None:
            try:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                head = self.command == "HEAD"
                self.send_header("Content-Length", length if head and length else str(len(data)))
                self.end_headers()
                if not head:
                    self.wfile.write(data if cut is None else data[:cut])
                if cut is not None:
                    self.wfile.flush()
                    self.close_connection = True
            except OSError:
                self.close_connection = True

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._pass_on)
    return Handler
