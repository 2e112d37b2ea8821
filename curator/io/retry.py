"""Reading from storage that fails now and then: what is worth another try, and reads that go on where they broke.

One place decides about retries; filesystems' own are kept to a few, since attempts of nested layers multiply.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import fsspec.asyn

__all__ = ["ChangedError", "RangeStream", "is_transient", "lacks_credentials", "read_range", "retried", "status_of"]

T = TypeVar("T")

ATTEMPTS = 6
# Seconds before the second attempt. Each further wait is twice as long, which makes 8 seconds in all.
FIRST_WAIT = 0.25
# A stream reads ahead AHEAD blocks of BLOCK bytes, so it holds at most one block more in memory.
BLOCK = 8 << 20
AHEAD = 3
# Bytes that are taken from a connection at a time.
CHUNK = 1 << 20

TRANSIENT_STATUS = (408, 429)
PRECONDITION_FAILED = 412
# By name, since each filesystem brings a client of its own: aiohttp, botocore, urllib3, requests.
TRANSIENT_NAMES = {
    "ChunkedEncodingError",
    "ClientConnectionError",
    "ClientPayloadError",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "FSTimeoutError",
    "HTTPClientError",
    "IncompleteRead",
    "IncompleteReadError",
    "ProtocolError",
    "ResponseParserError",
    "ServerDisconnectedError",
    "Timeout",
}
TRANSIENT_CODES = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "RequestTimeTooSkewed")
# Before any request is sent: botocore and google-auth found nothing to sign it with.
NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
}


class ChangedError(OSError):
    """The file under a URL is in another state than it was before."""


def is_transient(error: BaseException) -> bool:
    """True if the same request may well succeed later: 408, 429, 5xx, a lost connection, a timeout.

    >>> is_transient(ConnectionResetError()), is_transient(FileNotFoundError())
    (True, False)
    """
    for link in _chain(error):
        names = {kind.__name__ for kind in type(link).__mro__}
        if isinstance(link, ConnectionError | TimeoutError) or not TRANSIENT_NAMES.isdisjoint(names):
            return True
        status = _status(link)
        if status is not None:
            return status >= 500 or status in TRANSIENT_STATUS or _code(link) in TRANSIENT_CODES
    return False


def lacks_credentials(error: BaseException) -> bool:
    """True if a request could not be made for want of credentials."""
    return any(not NO_CREDENTIALS.isdisjoint(kind.__name__ for kind in type(link).__mro__) for link in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # Filesystems translate: a client's error is the cause of an OSError.
    for _ in range(5):
        if error is None:
            return
        yield error
        error = error.__cause__


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error, or what caused it, stands for; None if there was no answer."""
    return next((status for link in _chain(error) if (status := _status(link)) is not None), None)


def _status(error: BaseException) -> int | None:
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:  # aiohttp, gcsfs, requests; asked in turn, since aiohttp warns where its old `code` is looked at
        status = next((getattr(error, name) for name in ("status", "code") if hasattr(error, name)), None)
        status = getattr(answer, "status_code", None) if status is None else status
    return int(status) if isinstance(status, int) or (isinstance(status, str) and status.isdecimal()) else None


def _code(error: BaseException) -> str:
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def retried(call: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
    """The result of `call`, which is tried up to `ATTEMPTS` times after transient errors, with growing pauses.

    Args:
        call: a function that may be repeated without harm.
        progress: tells how far the calls got. A call that got further starts the count anew.

    Raises:
        OSError: the last error, whichever client raised it.
    """
    attempt, reached = 0, progress()
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
            attempt, reached = (1 if progress() > reached else attempt + 1), progress()
            if attempt >= ATTEMPTS:
                if isinstance(error, OSError):
                    raise
                raise OSError(f"{type(error).__name__}: {error}") from error
        # Jitter: workers that one hiccup hit together should not come back together.
        time.sleep(FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))


def read_range(filesystem: Any, path: str, start: int, end: int, version: str = "") -> bytes:
    """Bytes [start, end) of a remote file, fewer where it ends before. A read that breaks goes on where it broke.

    Args:
        filesystem: the fsspec filesystem.
        path: the file's path inside it.
        start: first byte.
        end: the byte after the last.
        version: the etag that the file must have, where the filesystem can check it (S3, HTTP); empty for any.

    Raises:
        ChangedError: the file has another etag.
        OSError: every attempt failed.
    """
    data = bytearray()

    def read() -> None:
        if "s3" in filesystem.protocol:
            fsspec.asyn.sync(filesystem.loop, _read_s3, filesystem, path, start, end, version, data)
        else:
            headers = {"headers": {"If-Match": f'"{version}"'}} if _can_match(filesystem, version) else {}
            data[:] = filesystem.cat_file(path, start=start, end=end, **headers)

    try:
        retried(read, lambda: len(data))
    except Exception as error:
        if status_of(error) == PRECONDITION_FAILED:
            raise ChangedError(f"{path} changed while it was read") from error
        raise
    return bytes(data)


def _can_match(filesystem: Any, version: str) -> bool:
    # RFC 9110: a weak etag matches no If-Match.
    return bool(version) and "http" in filesystem.protocol and not version.startswith("W/")


async def _read_s3(filesystem: Any, path: str, start: int, end: int, version: str, data: bytearray) -> None:
    """Add to `data` the bytes of [start, end) that it lacks. What came before an error is kept."""
    bucket, key, object_version = filesystem.split_path(path)
    condition = {"VersionId": object_version} if object_version else {}
    if version:
        condition["IfMatch"] = f'"{version}"'
    first = start + len(data)
    span = f"bytes={first}-{end - 1}"
    answer = await filesystem._call_s3("get_object", Bucket=bucket, Key=key, Range=span, **condition)
    body = answer["Body"]
    try:
        while len(data) < end - start and (chunk := await body.read(CHUNK)):
            data += chunk
    finally:
        body.close()
    if len(data) < first - start + answer["ContentLength"]:
        raise ConnectionError(f"{path}: the connection ended {len(data)} bytes into a read of {end - start}")


class RangeStream(io.RawIOBase):
    """A remote file that is read from front to back in blocks. The next blocks are fetched while one is used.

    Seeking works, and costs a block. Memory: `BLOCK` x (1 + `AHEAD`) bytes.

    Args:
        read: a function that gives bytes [start, end) and may be called from several threads.
        size: the bytes of the whole file.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._read_range = read
        self._size = size
        self._position = 0
        self._last = -1
        self._blocks: dict[int, Future[bytes]] = {}
        self._threads = ThreadPoolExecutor(1 + AHEAD, "read-ahead")

    def readable(self) -> bool:
        """Whether the stream can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether the stream can move: always."""
        return True

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position. Nothing is fetched until the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, at most to the end of a block; 0 at the end of the file."""
        if self._position >= self._size:
            return 0
        number, inside = divmod(self._position, BLOCK)
        data = self._block(number)[inside : inside + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Drop the blocks that are still being fetched."""
        if not self.closed:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._blocks.clear()
        super().close()

    def _block(self, number: int) -> memoryview:
        # A look at a file's head, or at its end, should not fetch the blocks around it.
        ahead = AHEAD if number == self._last + 1 and number else 0
        if number != self._last:
            indices = range(number, min(number + ahead, (self._size - 1) // BLOCK) + 1)
            self._blocks = {
                index: self._blocks.get(index) or self._threads.submit(self._fetch, index) for index in indices
            }
            self._last = number
        return memoryview(self._blocks[number].result())

    def _fetch(self, number: int) -> bytes:
        start = number * BLOCK
        end = min(start + BLOCK, self._size)
        data = self._read_range(start, end)
        if len(data) > end - start:
            raise OSError("the server sends whole files where a range is requested: copy the file first")
        return data
