"""Leases on every kind of store that writes on a condition, and by its own clock."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import fsspec
import pytest
from cloud_server import CloudServer

from curator.errors import CuratorError, InputError
from curator.io import conditional, lease, storage
from curator.io.run_lock import NAME, Holder, current_holder, owned

FOREIGN = Holder("someone", "elsewhere", 17, "ann", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudServer]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    server = CloudServer()
    yield server
    server.close()


@pytest.fixture(params=["gs", "az"])
def out(request: pytest.FixtureRequest, cloud: CloudServer, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "gs":
        # The usual class asks, by gRPC and TLS, of which kind a bucket is.
        core = pytest.importorskip("gcsfs.core")
        monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", core.GCSFileSystem)
    else:
        pytest.importorskip("adlfs")
    options = cloud.gcs_options if request.param == "gs" else cloud.azure_options
    monkeypatch.setitem(fsspec.config.conf, request.param, options)
    return f"{request.param}://bucket/deep/run"


def foreign(out: str) -> str:
    """The lease of a process on another machine, which this one cannot look at."""
    url = storage.join(out, NAME)
    storage.write_bytes(url, FOREIGN.to_json())
    return url


def test_one_owner(out: str, cloud: CloudServer) -> None:
    with owned(out) as owner:
        owner.check()
        holder = current_holder(out)
        assert holder is not None
        with pytest.raises(InputError, match="in use by process"), owned(out):
            pass
    assert cloud.refused == 1
    assert not cloud.objects


def test_only_one_of_many_takes_over(out: str, cloud: CloudServer) -> None:
    url = foreign(out)
    found = storage.read_bytes(url)
    version = conditional.object_state(*storage.resolve(url)).version
    leases = [lease.Lease(url, Holder.this_process().to_json()) for _ in range(4)]

    assert [one._replace(version) for one in leases] == [True, False, False, False]

    assert storage.read_bytes(url) != found
    assert cloud.refused == 3


def test_is_renewed_on_the_condition_that_it_is_still_ours(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", 2.0)
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.2)
    with owned(out) as owner:
        first = storage.read_bytes(storage.join(out, NAME))
        time.sleep(0.6)
        owner.check()
        assert storage.read_bytes(storage.join(out, NAME)) != first
        foreign(out)
        time.sleep(0.6)
        with pytest.raises(CuratorError, match="taken over"):
            owner.check()
    assert json.loads(storage.read_bytes(storage.join(out, NAME)))["run"] == "someone"


@pytest.mark.parametrize("ahead", [timedelta(hours=-2), timedelta(hours=2)])
def test_time_is_the_stores(out: str, cloud: CloudServer, ahead: timedelta) -> None:
    cloud.clock = ahead
    url = foreign(out)
    assert lease.SECONDS - 10 < lease.Lease.seconds_left(url) <= lease.SECONDS + 1
    cloud.clock += timedelta(seconds=lease.SECONDS + 5)
    assert lease.Lease.seconds_left(url) <= 0
    with owned(out) as owner:
        owner.check()


def test_nothing_is_there(out: str) -> None:
    filesystem, path = storage.resolve(storage.join(out, NAME))
    with pytest.raises(FileNotFoundError):
        conditional.object_state(filesystem, path)
    with pytest.raises(FileExistsError):
        conditional.put_if(filesystem, path, b"x", '"0x7"' if out.startswith("az") else "7")


def test_stores_without_conditions_have_no_lease(tmp_path: Any) -> None:
    assert not lease.Lease.is_possible("sftp://host/run")
    assert all(
        lease.Lease.is_possible(f"{scheme}://a/b") for scheme in ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
    )
