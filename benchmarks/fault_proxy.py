"""A proxy before an object store that fails as networks and stores do: by chance, or as a test says."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

__all__ = ["FAULTS", "Fault", "FaultProxy", "always", "by_chance", "never", "once_each"]

# Dropped before the store heard of the request, and after it had done what it asked for; answered late; cut in the
# middle of the answer; refused. Any other status may be named too.
FAULTS = ("drop", "lose", "delay", "cut", "500", "503")
DELAY_SECONDS = 2.0
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
BUSY = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>by the fault proxy</Message></Error>"
CODES = {"500": b"InternalError", "503": b"SlowDown"}

# Method, path and range of a request to how it fails; an empty string for not at all. Called by one thread at a time.
Fault: TypeAlias = Callable[[str, str, str], str]


def never(method: str, path: str, span: str) -> str:
    """No request fails."""
    return ""


def by_chance(share: float, seed: str) -> Fault:
    """A share of the requests fails, between 0 and 1; the seed says which, and how."""
    chance = random.Random(seed)
    return lambda method, path, span: chance.choice(FAULTS) if chance.random() < share else ""


def always(kind: str, method: str) -> Fault:
    """All requests of a method fail."""
    return lambda asked, path, span: kind if asked == method else ""


def once_each(*kinds: str) -> Fault:
    """Every request fails the first time it is made, in each of these ways in turn."""
    met: dict[tuple[str, str, str], str] = {}

    def fault(method: str, path: str, span: str) -> str:
        if (method, path, span) in met:
            return ""
        met[method, path, span] = kinds[len(met) % len(kinds)]
        return met[method, path, span]

    return fault


class FaultProxy:
    """Passes requests on to a store, or lets them fail.

    Args:
        upstream: the store, as `http://HOST:PORT`.
        fault: says which fail, and how.

    Attributes:
        url: where the proxy listens, on loopback.
        fault: the same; may be changed at any time.
        requests: method, path and range of every request.
        faults: how many failed, by kind.
        before_answer: is called with method and path of every request, and may hold it up.
    """

    def __init__(self, upstream: str, fault: Fault = never) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.fault = fault
        self.requests: list[tuple[str, str, str]] = []
        self.faults: Counter[str] = Counter()
        self.before_answer: Callable[[str, str], None] = lambda method, path: None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def note(self, method: str, path: str, span: str) -> str:
        """Take note of a request; returns how it fails, or an empty string."""
        with self._lock:
            self.requests.append((method, path, span))
            kind = self.fault(method, path, span)
            if kind:
                self.faults[kind] += 1
        self.before_answer(method, path)
        return kind

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked was killed, and that is no news."""


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _answer(self) -> None:
            body = self._body()
            fault = proxy.note(self.command, self.path, self.headers.get("Range", ""))
            if fault == "drop":
                self.close_connection = True
                return
            if fault == "delay":
                time.sleep(DELAY_SECONDS)
            if fault.isdecimal():
                answer = BUSY % CODES[fault] if fault in CODES else b""
                self._reply(int(fault), {"Content-Type": "application/xml"}, answer)
                return
            status, headers, data, length = self._ask(body)
            if fault == "lose":
                self.close_connection = True
                return
            self._reply(status, headers, data, length, cut=fault == "cut")

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes, str | None]:
            """Status, headers, body and stated length of the store's answer."""
            store = http.client.HTTPConnection(proxy.upstream, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            store.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = store.getresponse()
            data = answer.read()
            store.close()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
            return answer.status, kept, data, answer.getheader("Content-Length")

        def _reply(
            self, status: int, headers: dict[str, str], data: bytes, length: str | None = None, cut: bool = False
        ) -> None:
            is_head = self.command == "HEAD"
            try:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", length if is_head and length else str(len(data)))
                self.end_headers()
                if not is_head:
                    self.wfile.write(data[: -(-len(data) // 2)] if cut else data)
                self.close_connection = self.close_connection or cut
            except OSError:  # whoever asked was killed
                self.close_connection = True

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._answer)
    return Handler
