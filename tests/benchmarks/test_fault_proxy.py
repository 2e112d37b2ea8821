"""A store behind the fault proxy is a store all the same, if one asks again."""

from __future__ import annotations

import http.client

import pytest

from benchmarks.fault_proxy import DELAY_SECONDS, FAULTS, FaultProxy, by_chance
from curator.io import storage


@pytest.fixture
def through(s3_bucket, s3_endpoint, monkeypatch):
    s3fs = pytest.importorskip("s3fs")
    monkeypatch.setattr("benchmarks.fault_proxy.DELAY_SECONDS", DELAY_SECONDS / 100)
    proxies = []

    def make(share: float) -> FaultProxy:
        proxies.append(FaultProxy(s3_endpoint, by_chance(share, "1")))
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxies[-1].url)
        s3fs.S3FileSystem.clear_instance_cache()
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_what_is_written_is_read_back_whole(through, s3_bucket):
    proxy = through(0.2)
    for number in range(30):
        storage.write_bytes(f"{s3_bucket}/run/{number}", bytes([number]) * 50_000)
    for number in range(30):
        assert storage.read_bytes(f"{s3_bucket}/run/{number}") == bytes([number]) * 50_000
        assert storage.read_range(f"{s3_bucket}/run/{number}", 10, 50) == bytes([number]) * 40
    assert sorted(storage.list_names(f"{s3_bucket}/run")) == sorted(map(str, range(30)))
    storage.remove(f"{s3_bucket}/run")
    assert not storage.exists(f"{s3_bucket}/run/7")
    assert set(proxy.faults) == set(FAULTS)
    assert 0.1 < proxy.faults.total() / len(proxy.requests) < 0.3


def test_it_fails_as_it_says(through, s3_bucket):
    host = through(1.0).url.removeprefix("http://")
    ends = set()
    for _ in range(60):
        connection = http.client.HTTPConnection(host)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            ends.add(answer.status)
        except (http.client.HTTPException, OSError) as error:
            ends.add(type(error))
        connection.close()
    assert {500, 503, http.client.RemoteDisconnected, http.client.IncompleteRead} <= ends
