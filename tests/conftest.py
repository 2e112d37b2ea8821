from __future__ import annotations

import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# pytest's import mode would hide helpers beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from range_server import RangeServer

from benchmarks.fault_proxy import FaultProxy

# A shell's background jobs ignore Ctrl-C, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def interrupts_stay_as_they_are() -> Iterator[None]:
    """Programs that later tests start and interrupt would ignore Ctrl-C where a test has left it ignored here."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before, "this test has changed what Ctrl-C does in the tests' process"


# No test may fail by the clock: machines are shared.
settings.register_profile("patient", parent=settings.default, deadline=None)
settings.load_profile("patient")

REGION = "us-east-1"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A mock S3 server on loopback; nothing leaves the machine."""
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    s3fs.S3FileSystem.clear_instance_cache()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> Any:
    """boto3's client of the mock server, for what fsspec does not show."""
    boto3 = pytest.importorskip("boto3")
    config = pytest.importorskip("botocore.config").Config(proxies={})
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("s3", endpoint_url=s3_endpoint, region_name=REGION, config=config, **keys)


@pytest.fixture(scope="session")
def s3_environment(s3_endpoint: str) -> dict[str, str]:
    """With it a process reaches the mock server without arguments."""
    return {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


@pytest.fixture
def s3_bucket(s3_environment: dict[str, str], s3_client: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new, empty bucket that fsspec reaches without arguments: `s3://bucket-xyz`."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    s3_client.create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait as often as ever, but not as long."""
    from curator.io import retry

    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)


@pytest.fixture
def emulated_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 in this process, whatever its CPU: emulated it is slow, but it is the same code."""
    monkeypatch.setattr("curator.encoders.device.has_native_bf16", lambda device: True)


@pytest.fixture
def faulty_s3(s3_bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The way to the mock server, which `fault` can break. Only curator's retries help: botocore has one attempt."""
    import s3fs

    proxy = FaultProxy(s3_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    yield proxy
    s3fs.S3FileSystem.clear_instance_cache()
    proxy.close()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A web server on loopback that logs what it is asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    server = RangeServer()
    yield server
    server.close()
