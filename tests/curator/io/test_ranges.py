"""Bytes that are sent for bytes that are needed, by scheme, on servers that log what they are asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import fsspec
import pytest
from gcs_server import GcsServer
from hub_server import HubServer
from range_server import RangeServer

from benchmarks.fault_proxy import FaultProxy
from curator.io import storage

SIZE = 24 << 20
DATA = os.urandom(1 << 20) * 24
# As packing reads chosen samples: some thousand bytes here and there.
SAMPLES = [(512 + 1_000_003 * index, 512 + 1_000_003 * index + 20_000 + index) for index in range(20)]


@dataclass(frozen=True)
class Served:
    """A large object behind a server.

    Attributes:
        url: where curator finds it.
        sent: how many bytes of objects were sent since the last call.
    """

    url: str
    sent: Callable[[], int]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    kind = pytest.importorskip("huggingface_hub").HfFileSystem
    server = HubServer()
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": server.url, "token": False})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    kind.clear_instance_cache()
    yield server
    kind.clear_instance_cache()
    server.close()


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    kind = pytest.importorskip("gcsfs").GCSFileSystem
    # The kind of a bucket is asked by gRPC, which goes past the endpoint that is given for everything else.
    extended = pytest.importorskip("gcsfs.extended_gcsfs")

    async def ordinary(filesystem: object, bucket: str) -> object:
        return extended.BucketType.NON_HIERARCHICAL

    monkeypatch.setattr(extended.ExtendedGcsFileSystem, "_get_bucket_type", ordinary)
    server = GcsServer()
    monkeypatch.setitem(fsspec.config.conf, "gs", {"endpoint_url": server.url, "token": "anon"})
    kind.clear_instance_cache()
    yield server
    kind.clear_instance_cache()
    server.close()


def web_sent(server: RangeServer) -> Callable[[], int]:
    def sent() -> int:
        count, server.sent = server.sent, 0
        return count

    return sent


def proxy_sent(proxy: FaultProxy) -> Callable[[], int]:
    def sent() -> int:
        spans = [span.removeprefix("bytes=") for method, _, span in proxy.requests if method == "GET"]
        proxy.requests.clear()
        ends = [(int(first), min(int(last) + 1, SIZE)) for first, _, last in (span.partition("-") for span in spans)]
        return sum(last - first for first, last in ends)

    return sent


@pytest.fixture(params=["http", "s3", "gs", "hf"])
def served(request: pytest.FixtureRequest) -> Served:
    if request.param == "http":
        web = request.getfixturevalue("web")
        web.files["/a.tar"] = DATA
        return Served(f"{web.url}/a.tar", web_sent(web))
    if request.param == "hf":
        hub = request.getfixturevalue("hub")
        return Served(hub.add("a.tar", DATA), web_sent(hub))
    if request.param == "gs":
        gcs = request.getfixturevalue("gcs")
        return Served(gcs.add("a.tar", DATA), web_sent(gcs))
    proxy, bucket = (request.getfixturevalue(name) for name in ("faulty_s3", "s3_bucket"))
    storage.write_bytes(f"{bucket}/a.tar", DATA)
    proxy.requests.clear()
    return Served(f"{bucket}/a.tar", proxy_sent(proxy))


def test_samples(served: Served) -> None:
    state = storage.stat(served.url)
    assert state.size == SIZE
    served.sent()
    for start, end in SAMPLES:
        assert storage.read_range(served.url, start, end, state) == DATA[start:end]
    assert served.sent() <= 1.05 * sum(end - start for start, end in SAMPLES)


def test_heads(served: Served) -> None:
    assert storage.read_range(served.url, 0, 512) == DATA[:512]
    assert served.sent() <= 512


def test_a_look_into_a_stream(served: Served) -> None:
    """At the head of a shard, and at the foot of a table."""
    with storage.open_stream(served.url) as stream:
        assert stream.read(512) == DATA[:512]
        assert served.sent() <= 256 << 10
        stream.seek(-8, os.SEEK_END)
        assert stream.read() == DATA[-8:]
        assert served.sent() <= 256 << 10


def test_a_whole_shard(served: Served) -> None:
    with storage.open_stream(served.url, storage.stat(served.url)) as stream:
        assert stream.read() == DATA
    assert served.sent() <= 1.05 * SIZE
    assert storage.read_bytes(served.url) == DATA
    assert served.sent() <= 1.05 * SIZE


def test_a_file_of_the_hub_that_is_replaced(hub: HubServer) -> None:
    """Alone, and by a listing of its folder, it has the same version, and another one for other content."""
    url = hub.add("a.tar", b"one")
    others = [hub.add(f"{number}.tar", b"x") for number in range(3)]
    before = storage.stat(url)
    assert before.version
    assert storage.stat_many([url, *others])[url] == before
    assert storage.read_bytes(url) == b"one"
    hub.add("a.tar", b"two")
    after = storage.stat(url)
    assert after.size == before.size
    assert after.version != before.version


@pytest.mark.parametrize(("status", "kind"), [(401, PermissionError), (403, PermissionError), (503, OSError)])
def test_the_hub_denies_or_fails(
    hub: HubServer, status: int, kind: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never as a missing file. The Hub's client has retries of its own, which ours do not multiply."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    url = hub.add("a.tar", b"x")
    hub.status = lambda method, path: status
    with pytest.raises(kind) as caught:
        storage.read_bytes(url)
    assert not isinstance(caught.value, FileNotFoundError)
    assert len(hub.requests) <= 20
