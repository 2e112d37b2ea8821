"""A public bucket without credentials, and one whose requesters pay (cases 11 and 11b)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inputs_for_tests import Curator, chosen_keys, picture, refused, select, write_tar

Environ = dict[str, Any]
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def is_unsigned(request: Environ) -> bool:
    return "HTTP_AUTHORIZATION" not in request


def is_paid(request: Environ) -> bool:
    return request.get("HTTP_X_AMZ_REQUEST_PAYER") == "requester"


@pytest.fixture
def guarded(s3_bucket: str, s3_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`guarded(admits)`: the URL of a bucket of one shard, whose store answers 403 to what it does not admit."""
    import s3fs
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    shard = write_tar(tmp_path / "pool.tar", [(f"{number}.jpg", picture(number)) for number in range(6)])
    public = {"ACL": "public-read"}
    s3_client.upload_file(str(shard), s3_bucket.removeprefix("s3://"), "00000.tar", ExtraArgs=public)
    store, servers = DomainDispatcherApplication(create_backend_app), []

    def guard(admits: Callable[[Environ], bool]) -> str:
        def answer(request: Environ, respond: Any) -> Any:
            if admits(request):
                return store(request, respond)
            respond("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(DENIED)))])
            return [DENIED]

        servers.append(make_server("127.0.0.1", 0, answer, threaded=True))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{servers[-1].port}")
        return f"{s3_bucket}/*.tar"

    s3fs.S3FileSystem.clear_instance_cache()
    yield guard
    s3fs.S3FileSystem.clear_instance_cache()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def set_switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set a variable of fsspec, which reads them when it is imported."""
    import fsspec.config
    import s3fs

    def set_it(name: str) -> None:
        monkeypatch.setenv(name, "true")
        fsspec.config.set_conf_env(fsspec.config.conf)
        s3fs.S3FileSystem.clear_instance_cache()

    before = {protocol: dict(options) for protocol, options in fsspec.config.conf.items()}
    yield set_it
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)


def test_11_a_public_bucket_without_credentials(
    curator: Curator, tmp_path: Path, guarded: Any, set_switch: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = guarded(is_unsigned)
    for name in [name for name in os.environ if name.startswith("AWS_ACCESS") or name.startswith("AWS_SECRET")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    refused(select(curator, tmp_path, pool), "FSSPEC_S3_ANON=true")
    set_switch("FSSPEC_S3_ANON")
    ran = select(curator, tmp_path, pool)
    assert ran.code == 0, ran.err
    assert len(chosen_keys(tmp_path)) == 4


def test_11b_a_bucket_whose_requesters_pay(
    curator: Curator, tmp_path: Path, guarded: Any, set_switch: Callable[[str], None]
) -> None:
    pool = guarded(is_paid)
    refused(select(curator, tmp_path, pool), "--pool", "FSSPEC_S3_REQUESTER_PAYS=true")
    set_switch("FSSPEC_S3_REQUESTER_PAYS")
    ran = select(curator, tmp_path, pool)
    assert ran.code == 0, ran.err
    assert len(chosen_keys(tmp_path)) == 4
