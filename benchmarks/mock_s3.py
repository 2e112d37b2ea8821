"""A mock S3 on loopback, which this process and what it starts reach without arguments."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Traffic:
    """What was asked of the store.

    Attributes:
        latency: seconds by which each answer is late; may be set.
        requests: how many, by method.
        sent: bytes of the bodies of its answers to GET.
    """

    latency: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    sent: int = 0


@contextmanager
def mock_s3() -> Iterator[Traffic]:
    """While the block runs, `s3://` is the mock; needs moto."""
    from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    traffic = Traffic()
    app = _late(DomainDispatcherApplication(create_backend_app), traffic)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= keys | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "NO_PROXY": "127.0.0.1"}
    yield traffic
    server.shutdown()
    thread.join()


def _late(app: Any, traffic: Traffic) -> Callable[..., Iterable[bytes]]:
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        time.sleep(traffic.latency)
        body = list(app(environ, start_response))
        with lock:
            traffic.requests[environ["REQUEST_METHOD"]] += 1
            if environ["REQUEST_METHOD"] == "GET":
                traffic.sent += sum(map(len, body))
        return body

    return answer
