"""What a failed request means, whichever client says so."""

from __future__ import annotations

import errno
import socket

import pytest

from curator.errors import CuratorError
from curator.io import ranges, retry, storage
from curator.io.faults import ChangedError, Fault, fault_of
from curator.io.retry import retried


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        BrokenPipeError(),
        ConnectionRefusedError(),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError("said by a filesystem"),
        caused(OSError("translated"), ConnectionResetError()),
        # fsspec says "no such file" whatever happened.
        caused(FileNotFoundError("https://h/a.tar"), ConnectionRefusedError()),
        EOFError.__new__(type("IncompleteReadError", (EOFError,), {"__module__": "asyncio.exceptions"})),
    ],
)
def test_what_may_pass(error: BaseException) -> None:
    assert fault_of(error) is Fault.TRANSIENT


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("requests", "ConnectionError"),
        ("requests", "ReadTimeout"),
        ("requests.exceptions", "ChunkedEncodingError"),
        ("httpx2", "ConnectError"),
        ("httpx2", "RemoteProtocolError"),
        ("httpx2", "PoolTimeout"),
        ("aiohttp", "ServerDisconnectedError"),
        ("aiohttp", "ClientPayloadError"),
        ("urllib3.exceptions", "ProtocolError"),
    ],
)
def test_what_may_pass_of_every_client(module: str, name: str) -> None:
    assert fault_of(getattr(pytest.importorskip(module), name)("lost")) is Fault.TRANSIENT


def test_nobody_listens_yet() -> None:
    error = pytest.importorskip("botocore.exceptions").EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
    assert fault_of(error) is Fault.TRANSIENT


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (FileNotFoundError(), Fault.MISSING),
        (PermissionError(), Fault.DENIED),
        (OSError(errno.ENOSPC, "disk full"), Fault.LASTING),
        (NotADirectoryError(), Fault.LASTING),
        (ValueError("ours"), Fault.OURS),
        (TypeError("ours"), Fault.OURS),
        (CuratorError("ours"), Fault.OURS),
        (ChangedError("ours"), Fault.OURS),
    ],
)
def test_what_will_not_pass(error: BaseException, fault: Fault) -> None:
    assert fault_of(error) is fault


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        *((status, Fault.TRANSIENT) for status in (500, 502, 503, 504, 429, 408)),
        *((status, Fault.DENIED) for status in (401, 403)),
        *((status, Fault.MISSING) for status in (404, 410)),
        *((status, Fault.LASTING) for status in (400, 412, 416)),
    ],
)
def test_a_status_decides(status: int, fault: Fault) -> None:
    botocore = pytest.importorskip("botocore.exceptions")
    answer = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert fault_of(caused(OSError(5, "translated"), botocore.ClientError(answer, "GetObject"))) is fault
    response = type("Response", (), {"status_code": status})()
    hub = type("HfHubHTTPError", (Exception,), {"response": response})
    assert fault_of(caused(FileNotFoundError("translated"), hub())) is fault


@pytest.mark.parametrize(
    ("code", "fault"), [("ExpiredToken", Fault.DENIED), ("SlowDown", Fault.TRANSIENT), ("BadDigest", Fault.LASTING)]
)
def test_a_code_decides_where_a_status_says_little(code: str, fault: Fault) -> None:
    botocore = pytest.importorskip("botocore.exceptions")
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    assert fault_of(botocore.ClientError(answer, "GetObject")) is fault


def test_what_is_no_answer_of_a_store_is_neither_tried_again_nor_translated() -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        retried(fail)
    assert len(calls) == 1


class TestOverHttp:
    """Each kind of answer of a real web server, through fsspec's own translations."""

    @pytest.mark.parametrize(
        ("status", "kind", "message"),
        [
            (401, PermissionError, r"access denied, credentials .* \(HTTP 401\)"),
            (403, PermissionError, r"access denied \(HTTP 403\)"),
            (404, FileNotFoundError, None),
            (500, OSError, r"the server failed \(HTTP 500\)"),
            (503, OSError, r"the server failed \(HTTP 503\)"),
        ],
    )
    def test_by_status(self, web, status: int, kind: type[OSError], message: str | None) -> None:
        web.files["/a.tar"] = b"x" * 100
        web.status = lambda method, path: status
        for call in (storage.stat, storage.read_bytes, storage.open_stream, storage.exists, self.read_some):
            if status == 404 and call is storage.exists:
                assert not call(f"{web.url}/a.tar")
                continue
            web.requests.clear()
            with pytest.raises(kind, match=message) as caught:
                call(f"{web.url}/a.tar")
            assert (type(caught.value) is FileNotFoundError) == (status == 404)
            # A look at a file may take two requests.
            assert len(web.requests) in ((1, 2) if status < 500 else (retry.ATTEMPTS, 2 * retry.ATTEMPTS))

    @staticmethod
    def read_some(url: str) -> bytes:
        return storage.read_range(url, 0, 10)

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("http://127.0.0.1:9/a.tar", "nobody answers"),
            ("http://no-such-host.invalid/a.tar", "name is not known|lookup"),
        ],
    )
    def test_nobody_there_is_not_a_missing_file(self, url: str, message: str) -> None:
        with pytest.raises(OSError, match=message) as caught:
            storage.stat(url)
        assert not isinstance(caught.value, FileNotFoundError)

    def test_a_failure_that_passes(self, web) -> None:
        web.files["/a.tar"] = b"0123456789"
        left = [503, 500, 502]
        web.status = lambda method, path: left.pop() if left else 0
        assert storage.read_bytes(f"{web.url}/a.tar") == b"0123456789"
        left = [503, 503]
        assert storage.stat(f"{web.url}/a.tar").size == 10


class TestWhole:
    """`read_bytes` over connections that break."""

    @pytest.fixture
    def small_blocks(self, monkeypatch) -> None:
        monkeypatch.setattr(ranges, "BLOCK", 100_000)

    @pytest.mark.usefixtures("small_blocks")
    def test_goes_on_where_it_broke(self, web) -> None:
        data = bytes(range(256)) * 2000
        web.files["/a"] = data
        web.headers = {"ETag": '"1"'}
        web.cut = 30_000
        assert storage.read_bytes(f"{web.url}/a") == data
        assert web.sent <= 1.05 * len(data)

    def test_a_small_file_is_one_request(self, web) -> None:
        web.files["/a"] = b"0123456789"
        assert storage.read_bytes(f"{web.url}/a") == b"0123456789"
        assert [method for method, _, _ in web.requests] == ["GET"]

    def test_an_empty_file(self, web, s3_bucket) -> None:
        web.files["/a"] = b""
        assert storage.read_bytes(f"{web.url}/a") == b""
        storage.write_bytes(f"{s3_bucket}/a", b"")
        assert storage.read_bytes(f"{s3_bucket}/a") == b""

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("size", [99_999, 100_000, 100_001, 350_000])
    def test_of_every_size(self, web, s3_bucket, size: int) -> None:
        data = bytes(range(250)) * (size // 250) + b"x" * (size % 250)
        web.files["/a"] = data
        storage.write_bytes(f"{s3_bucket}/a", data)
        assert storage.read_bytes(f"{web.url}/a") == data
        assert storage.read_bytes(f"{s3_bucket}/a") == data

    @pytest.mark.usefixtures("small_blocks")
    def test_what_is_replaced_meanwhile_is_read_anew(self, web) -> None:
        web.files["/a"], web.headers = b"a" * 300_000, {"ETag": '"1"'}

        def replaced(method: str, path: str) -> int:
            if len(web.requests) == 2:
                web.files["/a"], web.headers = b"b" * 250_000, {"ETag": '"2"'}
            return 0

        web.status = replaced
        assert storage.read_bytes(f"{web.url}/a") == b"b" * 250_000


class TestVersions:
    def test_a_date_where_there_is_no_etag(self, web) -> None:
        web.files["/a.tar"] = b"x" * 100
        web.headers = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
        url = f"{web.url}/a.tar"
        before = storage.stat(url)
        assert before.version
        assert storage.read_range(url, 5, 9, before) == b"xxxx"
        web.headers = {"Last-Modified": "Thu, 22 Oct 2015 07:28:00 GMT"}
        assert storage.stat(url) != before
        with pytest.raises(storage.ChangedError):
            storage.read_range(url, 5, 9, before)

    def test_only_an_etag_or_a_date_is_asked_for(self, web) -> None:
        web.files["/a.tar"] = b"x" * 100
        web.headers = {"Content-MD5": "bWQ1"}
        before = storage.stat(f"{web.url}/a.tar")
        assert storage.read_range(f"{web.url}/a.tar", 5, 9, before) == b"xxxx"

    def test_none_at_all_is_empty(self, web) -> None:
        web.files["/a.tar"] = b"x"
        assert not storage.stat(f"{web.url}/a.tar").version

    @pytest.mark.parametrize(
        "info",
        [
            {"blob_id": "a1"},
            {"blob_id": None, "xet_hash": "a1"},
            {"generation": "a1", "updated": "later"},
            {"last_commit": "a1"},
            {"ETag": '"a1"', "LastModified": "later"},
        ],
    )
    def test_of_every_store(self, info: dict[str, str]) -> None:
        from curator.io.states import info_stat

        assert info_stat({"size": 3, **info}) == storage.Stat(3, "a1")


class TestWithoutRanges:
    """A server like Python's own, `python -m http.server`."""

    @pytest.fixture
    def simple(self, web):
        web.knows_ranges = False
        web.files["/a.tar"] = bytes(8 << 20)
        return web

    def test_is_told_before_a_shard_is_read(self, simple) -> None:
        from curator.sources.find import find_sources

        with pytest.raises(storage.NoRangesError, match=r"whole files .* copy the files to a disk first, or serve"):
            find_sources([f"{simple.url}/a.tar"], "pool", folders=False)
        assert simple.sent < 4 << 20

    def test_is_told_wherever_a_range_is_needed(self, simple, monkeypatch) -> None:
        for start, end in ((0, 10), (1 << 20, 2 << 20), (1 << 20, 8 << 20)):
            with pytest.raises(storage.NoRangesError):
                storage.read_range(f"{simple.url}/a.tar", start, end)
        monkeypatch.setattr(ranges, "BLOCK", 1 << 20)
        with storage.open_stream(f"{simple.url}/a.tar") as stream, pytest.raises(storage.NoRangesError):
            stream.read(1)

    def test_serves_lists_and_weights(self, simple, monkeypatch) -> None:
        assert storage.read_bytes(f"{simple.url}/a.tar") == bytes(8 << 20)
        monkeypatch.setattr(ranges, "BLOCK", 1 << 20)
        assert storage.read_bytes(f"{simple.url}/a.tar") == bytes(8 << 20)
