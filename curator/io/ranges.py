"""Reads of byte ranges from remote files, each of which goes on where it broke, and streams made of them."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fsspec.asyn

from curator.errors import UnusableInput
from curator.io.faults import PRECONDITION_FAILED, ChangedError, status_of
from curator.io.names import public_name
from curator.io.retry import attempts_of, retried
from curator.io.traffic import count_traffic

__all__ = ["NoRangesError", "RangeStream", "read_range", "read_whole"]

# A stream reads ahead AHEAD blocks of BLOCK bytes, so it holds at most one block more in memory.
BLOCK = 8 << 20
AHEAD = 3
# Its first blocks are smaller, and so is its last: often only the head of a shard is read, or the foot of a table.
HEAD = 256 << 10
# Bytes that are taken from a connection at a time.
CHUNK = 1 << 20

PARTIAL = 206
RANGE_BEHIND_END = 416
HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


class NoRangesError(UnusableInput):
    """A server sends whole files only, so that single samples cannot be read from it."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{public_name(url)}: this server sends whole files where a range of bytes is asked for, and samples are "
            "read by ranges",
            advice=("copy the files to a disk first", "serve them with a server that knows ranges, such as nginx"),
        )


@dataclass
class Answered:
    """What the answers to reads told of the whole file.

    Attributes:
        size: its bytes; None where they did not tell.
        version: its version, empty where they did not tell. Later reads want the same.
    """

    size: int | None = None
    version: str = ""


def read_range(
    filesystem: Any, path: str, start: int, end: int, version: str = "", answered: Answered | None = None
) -> bytes:
    """Bytes [start, end) of a remote file, fewer where it ends before. A read that breaks goes on where it broke.

    Args:
        filesystem: the fsspec filesystem.
        path: the file's path inside it.
        start: first byte.
        end: the byte after the last.
        version: the version that the file must have, where the filesystem can check it (S3, HTTP); empty for any.
        answered: is told what the answers say of the whole file.

    Raises:
        ChangedError: the file has another version.
        NoRangesError: the server sends whole files only. At most a chunk of what it sends is read.
        OSError: every attempt failed.
    """
    data = bytearray()
    answered = answered or Answered()
    answered.version = version
    if start >= end:
        return b""

    def read() -> None:
        asynchronous = next((_READERS[name] for name in _READERS if name in filesystem.protocol), None)
        if asynchronous is None:
            _read_blocks(filesystem, path, start, end, data)
        else:
            fsspec.asyn.sync(filesystem.loop, asynchronous, filesystem, path, start, end, data, answered)

    try:
        retried(read, lambda: len(data), path, attempts_of(filesystem))
    except Exception as error:
        if status_of(error) == PRECONDITION_FAILED:
            raise ChangedError(f"{public_name(path)} changed while it was read") from error
        raise
    finally:
        count_traffic(read=len(data))
    return bytes(data)


def read_whole(filesystem: Any, path: str) -> bytes:
    """A whole remote file: one request for a small one, blocks side by side for a large one.

    Raises:
        ChangedError: it was replaced meanwhile.
        OSError: every attempt failed.
    """
    answered = Answered()
    try:
        head = read_range(filesystem, path, 0, BLOCK, answered=answered)
    except NoRangesError:
        whole: bytes = retried(lambda: filesystem.cat_file(path), where=path)
        count_traffic(read=len(whole))
        return whole
    except OSError as error:
        if status_of(error) == RANGE_BEHIND_END:  # of an empty file
            return b""
        raise
    if len(head) < BLOCK:
        return head
    size = answered.size
    if size is None:
        filesystem.invalidate_cache()
        size = int(retried(lambda: filesystem.info(path), where=path)["size"])

    def read(start: int) -> bytes:
        return read_range(filesystem, path, start, min(start + BLOCK, size), answered.version)

    with ThreadPoolExecutor(1 + AHEAD, "read") as threads:
        return b"".join([head, *threads.map(read, range(BLOCK, size, BLOCK))])


def _read_blocks(filesystem: Any, path: str, start: int, end: int, data: bytearray) -> None:
    """Add to `data` what it lacks of [start, end), block by block, so that little is asked for twice."""
    # fsspec's own way opens the file, and its default cache reads 5 MiB more than is asked for.
    exact = {"cache_type": "none"} if type(filesystem).cat_file is fsspec.AbstractFileSystem.cat_file else {}
    while (first := start + len(data)) < end:
        last = min(first + BLOCK, end)
        block = filesystem.cat_file(path, start=first, end=last, **exact)
        if len(block) > last - first:
            raise NoRangesError(path)
        data += block
        if len(block) < last - first:
            return


async def _read_s3(filesystem: Any, path: str, start: int, end: int, data: bytearray, answered: Answered) -> None:
    """Add to `data` the bytes of [start, end) that it lacks. What came before an error is kept."""
    bucket, key, object_version = filesystem.split_path(path)
    condition = {"VersionId": object_version} if object_version else {}
    if answered.version:
        condition["IfMatch"] = f'"{answered.version}"'
    first = start + len(data)
    span = f"bytes={first}-{end - 1}"
    answer = await filesystem._call_s3("get_object", Bucket=bucket, Key=key, Range=span, **condition)
    answered.size = _total(answer.get("ContentRange", ""))
    answered.version = answer.get("ETag", "").strip('"')
    body = answer["Body"]
    try:
        while len(data) < end - start and (chunk := await body.read(CHUNK)):
            data += chunk
    finally:
        body.close()
    if len(data) < first - start + answer["ContentLength"]:
        raise ConnectionError(f"{path}: the connection ended {len(data)} bytes into a read of {end - start}")


async def _read_http(filesystem: Any, url: str, start: int, end: int, data: bytearray, answered: Answered) -> None:
    """As `_read_s3`. A server without ranges may only be asked for the whole of a file."""
    session = await filesystem.set_session()
    options = dict(filesystem.kwargs)
    first = start + len(data)
    headers = {**options.pop("headers", {}), **_condition(answered.version), "Range": f"bytes={first}-{end - 1}"}
    # A compressed answer would have other bytes at these places.
    headers["Accept-Encoding"] = "identity"
    async with session.get(filesystem.encode_url(url), headers=headers, **options) as answer:
        filesystem._raise_not_found_for_status(answer, url)
        skip = _bytes_before(answer, url, start, first, end)
        answered.size = _total(answer.headers.get("Content-Range", ""))
        answered.version = answer.headers.get("ETag", "").strip('"') or answer.headers.get("Last-Modified", "")
        async for chunk in answer.content.iter_chunked(CHUNK):
            data += chunk[skip:]
            skip = max(0, skip - len(chunk))
            if len(data) >= end - start:
                break
    del data[end - start :]
    if answered.size is not None and len(data) < min(end, answered.size) - start:
        raise ConnectionError(f"{public_name(url)}: the answer ended {len(data)} bytes into a read of {end - start}")


_READERS = {"s3": _read_s3, "http": _read_http}


def _bytes_before(answer: Any, url: str, start: int, first: int, end: int) -> int:
    """How many bytes of an answer come before the first one that was asked for."""
    if answer.status == PARTIAL:
        stated = answer.headers.get("Content-Range", f"bytes {first}-").removeprefix("bytes ").partition("-")[0]
        if stated != str(first):
            raise NoRangesError(url)
        return 0
    # The whole file. That is as good where the whole was asked for, and what broke off goes on behind what came.
    if start or answer.content_length is None or answer.content_length > end:
        raise NoRangesError(url)
    return first


def _total(content_range: str) -> int | None:
    total = content_range.rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _condition(version: str) -> Mapping[str, str]:
    if HTTP_DATE.fullmatch(version):
        return {"If-Unmodified-Since": version}
    # RFC 9110: a weak etag matches no If-Match.
    return {"If-Match": f'"{version}"'} if version and not version.startswith("W/") else {}


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
        self._starts = _block_starts(size)
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
        number = bisect_right(self._starts, self._position) - 1
        inside = self._position - self._starts[number]
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
            indices = range(number, min(number + ahead, len(self._starts) - 1) + 1)
            self._blocks = {
                index: self._blocks.get(index) or self._threads.submit(self._fetch, index) for index in indices
            }
            self._last = number
        return memoryview(self._blocks[number].result())

    def _fetch(self, number: int) -> bytes:
        ends = [*self._starts[number + 1 : number + 2], self._size]
        return self._read_range(self._starts[number], ends[0])


def _block_starts(size: int) -> list[int]:
    if HEAD >= BLOCK:
        return list(range(0, size, BLOCK))
    foot = max(0, size - HEAD)
    small = [HEAD << step for step in range(0, 5, 2) if HEAD << step < BLOCK]
    return sorted({start for start in (0, *small, *range(0, size, BLOCK), foot) if start <= foot})
