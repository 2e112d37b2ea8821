"""Reading from the source shards only what is needed, in few large reads and bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from types import TracebackType
from typing import NamedTuple

from curator.errors import CuratorError, Redo
from curator.io import Stat, count_traffic, public_text, storage
from curator.packing import ustar
from curator.packing.layout import MemberCopy, SampleRange

__all__ = ["Chunk", "RangeChunk", "Read", "fetch_reads", "plan_reads", "source_changed"]

# Gaps up to this many bytes are read along: headers, and a small member that is skipped.
MAX_GAP = 4 << 10
# A read is no longer than this; whole blocks, so that a member's header is never cut in two.
MAX_READ = 8 << 20
# Remote reads wait for the network, not for this machine. Memory: this many times MAX_READ.
REMOTE_READS = 8

# A member or a sample, the position of these bytes in it, and the bytes.
Chunk = tuple[MemberCopy, int, memoryview]
RangeChunk = tuple[SampleRange, int, memoryview]


@dataclass(frozen=True, slots=True)
class Read:
    """One range of a source shard, and the members that it covers, wholly or in part.

    Attributes:
        shard: the public name of the source shard.
        start: the first byte.
        end: the byte after the last.
        copies: the members, in the order of the source.
        ranges: the samples of which it covers all bytes or some, likewise.
    """

    shard: str
    start: int
    end: int
    copies: tuple[MemberCopy, ...]
    ranges: tuple[SampleRange, ...] = ()

    def chunks(self, data: bytes) -> Iterator[Chunk]:
        """Divide the bytes of the read among its members.

        Over all reads from `plan_reads` the chunks of a member come in order and end where it ends. An empty
        member gives one empty chunk.

        Args:
            data: the bytes of the range.

        Yields:
            the member, the position of the chunk inside it, and the bytes.

        Raises:
            CuratorError: the header before a member states another size.
        """
        view = memoryview(data)
        for copy in self.copies:
            if self.start <= _begin(copy):
                self._check_header(copy, view)
            start = max(copy.source_offset, self.start)
            end = min(copy.source_offset + copy.size, self.end)
            if start < end or not copy.size:
                yield copy, start - copy.source_offset, view[start - self.start : end - self.start]

    def range_chunks(self, data: bytes) -> Iterator[RangeChunk]:
        """Divide the bytes of the read among its samples, as `chunks` does among members."""
        view = memoryview(data)
        for sample in self.ranges:
            start = max(sample.source_offset, self.start)
            end = min(_end(sample), self.end)
            yield sample, start - sample.source_offset, view[start - self.start : end - self.start]

    def _check_header(self, copy: MemberCopy, view: memoryview) -> None:
        start = _begin(copy) - self.start
        header = view[start : start + ustar.BLOCK]
        # So it is nearly always, and no number need be read.
        if header[ustar.SIZE] == ustar.size_field(copy.size):
            return
        stated = ustar.stated_size(bytes(header))
        # A size that octal digits cannot hold may stand in a PAX header instead.
        if stated != copy.size and copy.size <= ustar.MAX_OCTAL:
            raise source_changed(copy, f"no member of {copy.size} bytes at byte {copy.source_offset}")


def source_changed(copy: MemberCopy | SampleRange, what: str) -> CuratorError:
    """The error for a source shard whose content is not what the metadata says."""
    message = f"{copy.shard}: {copy.key}: {what}; the source changed since it was embedded"
    return CuratorError(message, advice=Redo("pool"))


def plan_reads(copies: Iterable[MemberCopy], ranges: Iterable[SampleRange] = ()) -> list[Read]:
    """The reads that cover these members and samples, by shard and position.

    Each member is read with the 512-byte header before it. Neighbours at most `MAX_GAP` bytes apart share
    a read, up to `MAX_READ`: sparse samples cost little more than their bytes, and a densely chosen shard
    is streamed.

    Args:
        copies: members of any shards, in any order.
        ranges: whole samples of them, whose hashes will be checked.
    """
    items: list[MemberCopy | SampleRange] = [*copies, *ranges]
    spans = [_Span(item.shard, _begin(item), _end(item), item) for item in items]
    spans.sort(key=itemgetter(0, 1))
    return [
        read for shard, group in groupby(spans, key=itemgetter(0)) for run in _runs(group) for read in _cut(shard, run)
    ]


def fetch_reads(
    reads: Iterable[Read], urls: Mapping[str, str], states: Mapping[str, Stat] | None = None
) -> Iterator[tuple[Read, bytes]]:
    """Carry out reads, in order.

    Memory: one read of a local file; up to `REMOTE_READS` of remote ones, which are read side by side.

    Args:
        reads: the reads, from `plan_reads`.
        urls: public name of a shard -> URL to read it from, where they differ.
        states: public name of a shard -> the state it must be in; a shard that is not named may be in any. Local
            files are checked before and after their reads, S3 and HTTP with every read.

    Raises:
        CuratorError: a shard cannot be read, is in another state, or ends before a member does.
    """
    for local, group in groupby(reads, key=lambda read: storage.is_local(_url(read, urls))):
        fetcher = _fetch_local if local else _fetch_remote
        yield from fetcher(group, urls, states or {})


def _fetch_local(
    reads: Iterable[Read], urls: Mapping[str, str], states: Mapping[str, Stat]
) -> Iterator[tuple[Read, bytes]]:
    for shard, group in groupby(reads, key=attrgetter("shard")):
        with _LocalFile(urls.get(shard, shard), shard, states.get(shard)) as file:
            for read in group:
                yield read, _whole(read, file.read(read.start, read.end))


def _fetch_remote(
    reads: Iterable[Read], urls: Mapping[str, str], states: Mapping[str, Stat]
) -> Iterator[tuple[Read, bytes]]:
    waiting: deque[tuple[Read, Future[bytes]]] = deque()
    threads = ThreadPoolExecutor(REMOTE_READS)
    try:
        for read in reads:
            if len(waiting) == REMOTE_READS:
                yield _next(waiting)
            waiting.append((read, threads.submit(_read_remote, read, _url(read, urls), states.get(read.shard))))
        while waiting:
            yield _next(waiting)
    finally:
        threads.shutdown(cancel_futures=True)


def _next(waiting: deque[tuple[Read, Future[bytes]]]) -> tuple[Read, bytes]:
    read, future = waiting.popleft()
    return read, _whole(read, future.result())


def _read_remote(read: Read, url: str, state: Stat | None) -> bytes:
    try:
        return storage.read_range(url, read.start, read.end, state)
    except CuratorError:
        raise
    except storage.ChangedError as error:
        raise _replaced(read.shard) from error
    except Exception as error:  # every filesystem has network errors of its own
        if _ends_before(url, read.start):
            return b""
        raise _unreadable(read.shard, error) from error


def _ends_before(url: str, position: int) -> bool:
    # Object stores answer a range that begins behind the end with an error, not with no bytes.
    try:
        return storage.stat(url).size <= position
    except Exception:
        return False


class _LocalFile:
    """A source that stays open for its reads."""

    def __init__(self, url: str, shard: str, state: Stat | None) -> None:
        self.url, self.shard, self.state = url, shard, state
        try:
            self.file = os.open(storage.local_path(url), os.O_RDONLY)
        except OSError as error:
            raise _unreadable(shard, error) from error

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer where the file ends before."""
        try:
            data = os.pread(self.file, end - start, start)
        except OSError as error:
            raise _unreadable(self.shard, error) from error
        count_traffic(read=len(data))
        return data

    def __enter__(self) -> _LocalFile:
        try:
            self._check()
        except CuratorError:
            os.close(self.file)
            raise
        return self

    def _check(self) -> None:
        # The open file is checked, since it stays the same when another file takes its name.
        if self.state is not None and storage.local_stat(self.file) != self.state:
            raise _replaced(self.shard)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._check()
        finally:
            os.close(self.file)


def _replaced(shard: str) -> CuratorError:
    return CuratorError(f"{shard} changed since it was embedded", advice=Redo("pool"))


def _unreadable(shard: str, error: Exception) -> CuratorError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return CuratorError(f"{shard} cannot be read: {public_text(reason)}", advice="make it readable and run again")


def _whole(read: Read, data: bytes) -> bytes:
    size = read.end - read.start
    if len(data) < size:
        end = read.start + len(data)
        copy = next(copy for copy in read.copies if _end(copy) > end or not copy.size)
        raise source_changed(copy, f"the shard ends before its member at byte {copy.source_offset} does")
    return data


def _url(read: Read, urls: Mapping[str, str]) -> str:
    return urls.get(read.shard, read.shard)


def _begin(item: MemberCopy | SampleRange) -> int:
    return item.source_offset - (ustar.BLOCK if isinstance(item, MemberCopy) else 0)


def _end(item: MemberCopy | SampleRange) -> int:
    return item.source_offset + item.size


class _Span(NamedTuple):
    """The bytes of a shard that a member, its header included, or a sample takes."""

    shard: str
    begin: int
    end: int
    item: MemberCopy | SampleRange


def _runs(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
    """Groups of neighbours that are near enough to be read together."""
    run: list[_Span] = []
    last = 0
    for span in spans:
        if run and span.begin - last > MAX_GAP:
            yield run
            run = []
        run.append(span)
        last = max(last, span.end)
    if run:
        yield run


def _cut(shard: str, run: list[_Span]) -> Iterator[Read]:
    last = max(span.end for span in run)
    waiting = deque(run)
    for start in range(run[0].begin, last, MAX_READ):
        end = min(start + MAX_READ, last)
        spans = []
        while waiting and waiting[0].begin < end:
            spans.append(waiting.popleft())
        copies = tuple(span.item for span in spans if isinstance(span.item, MemberCopy))
        yield Read(shard, start, end, copies, tuple(span.item for span in spans if isinstance(span.item, SampleRange)))
        waiting.extendleft(reversed([span for span in spans if span.end > end]))
