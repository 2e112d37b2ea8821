"""A proxy before an object store that fails as networks and stores do: now and then, at random."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["FAULTS", "FaultProxy"]

# Dropped before the store heard of the request, and after it had done what it asked for; answered late; cut in the
# middle of the answer; refused.
FAULTS = ("drop", "lose", "delay", "cut", "500", "503")
DELAY_SECONDS = 2.0
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
BUSY = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>by the fault proxy</Message></Error>"
CODES = {"500": b"InternalError", "503": b"SlowDown"}


class FaultProxy:
    """Passes requests on to a store, and lets a share of them fail.

    Args:
        upstream: the store, as `http://HOST:PORT`.
        share: of the requests that fail, between 0 and 1.
        seed: of which, and how.

    Attributes:
        url: where the proxy listens, on loopback.
        requests: how many came.
        faults: how many failed, by kind.
    """

    def __init__(self, upstream: str, share: float, seed: str) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.share = share
        self.requests = 0
        self.faults: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def draw(self) -> str:
        """The fault of the next request; empty for none."""
        with self._lock:
            self.requests += 1
            if self._chance.random() >= self.share:
                return ""
            fault = self._chance.choice(FAULTS)
            self.faults[fault] += 1
            return fault

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _answer(self) -> None:
            body = self._body()
            fault = proxy.draw()
            if fault == "drop":
                self.close_connection = True
                return
            if fault == "delay":
                time.sleep(DELAY_SECONDS)
            if fault in CODES:
                self._reply(int(fault), {"Content-Type": "application/xml"}, BUSY % CODES[fault])
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
                    self.wfile.write(data[: len(data) // 2] if cut else data)
                self.close_connection = self.close_connection or cut
            except OSError:  # whoever asked was killed
                self.close_connection = True

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._answer)
    return Handler
