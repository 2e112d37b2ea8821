"""Reading only what is needed of the source shards, in few large reads and bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from urllib.parse import urlsplit

from curator.errors import CuratorError
from curator.io import storage
from curator.io.storage import Stat
from curator.packing import ustar
from curator.packing.layout import Place

__all__ = ["Read", "changed", "fetch", "plan_reads"]

# Gaps up to this many bytes are read along: headers, and a small member that is skipped.
MAX_GAP = 4 << 10
# A read is no longer than this; whole blocks, so that a member's header is never cut in two.
MAX_READ = 8 << 20
# Remote reads wait for the network, not for this machine. Memory: this many times MAX_READ.
REMOTE_READS = 8
CHANGED = "changed since it was embedded: run again with --redo pool"

Piece = tuple[Place, int, memoryview]


@dataclass(frozen=True, slots=True)
class Read:
    """One range of a source shard, and the members that it covers, wholly or in part.

    Attributes:
        shard: the source shard's public name.
        start: first byte.
        end: the byte after the last.
        places: the members, in the source's order.
    """

    shard: str
    start: int
    end: int
    places: tuple[Place, ...]

    def pieces(self, data: bytes) -> Iterator[Piece]:
        """What the read's bytes give to each member: (member, position inside it, bytes).

        Over all reads of a plan a member's pieces come in order and end where it ends; an empty member
        gives one empty piece.

        Raises:
            CuratorError: the header before a member states another size.
        """
        view = memoryview(data)
        for place in self.places:
            if self.start <= _begin(place):
                self._check_header(place, view)
            start = max(place.source, self.start)
            end = min(place.source + place.size, self.end)
            if start < end or not place.size:
                yield place, start - place.source, view[start - self.start : end - self.start]

    def _check_header(self, place: Place, view: memoryview) -> None:
        at = _begin(place) - self.start
        stated = ustar.stated_size(bytes(view[at : at + ustar.BLOCK]))
        # A size that octal digits cannot hold may stand in a PAX header instead.
        if stated != place.size and place.size <= ustar.MAX_OCTAL:
            raise changed(place, f"no member of {place.size} bytes at byte {place.source}")


def changed(place: Place, what: str) -> CuratorError:
    """The error for a source that is not what the metadata says."""
    return CuratorError(f"{place.shard}: {place.key}: {what}; the source {CHANGED}")


def plan_reads(places: Iterable[Place]) -> list[Read]:
    """The reads that cover members of any shards, by shard and position.

    Each member is read with the 512-byte header before it. Neighbours at most `MAX_GAP` bytes apart share
    a read, up to `MAX_READ`: sparse samples cost little more than their bytes, and a densely chosen shard
    is streamed.

    Args:
        places: in any order.
    """
    ordered = sorted(places, key=attrgetter("shard", "source"))
    return [
        read
        for shard, group in groupby(ordered, key=attrgetter("shard"))
        for run in _runs(group)
        for read in _cut(shard, run)
    ]


def fetch(
    reads: Iterable[Read], urls: Mapping[str, str], states: Mapping[str, Stat] | None = None
) -> Iterator[tuple[Read, bytes]]:
    """Carry out reads, in order.

    Memory: one read of a local file; up to `REMOTE_READS` of remote ones, which are read side by side.

    Args:
        reads: as `plan_reads` made them.
        urls: where to read a shard, if not under its public name.
        states: what a shard must be, by its public name: those that are not named may be anything. Local
            files are looked at before and after their reads; S3 and HTTP are asked with every read.

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
        raise _unreadable(read.shard, url, error) from error


def _ends_before(url: str, position: int) -> bool:
    # A range that begins behind the end is an error to object stores, not an empty answer.
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
            raise _unreadable(shard, url, error) from error

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer where the file ends before."""
        try:
            return os.pread(self.file, end - start, start)
        except OSError as error:
            raise _unreadable(self.shard, self.url, error) from error

    def __enter__(self) -> _LocalFile:
        try:
            self._check()
        except CuratorError:
            os.close(self.file)
            raise
        return self

    def _check(self) -> None:
        # Of the open file: one that was replaced under its name stays what it was.
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
    return CuratorError(f"{shard} {CHANGED}")


def _unreadable(shard: str, url: str, error: Exception) -> CuratorError:
    reason = " ".join(str(error).split()) or type(error).__name__
    # The URL may carry a signature.
    for secret in (url, urlsplit(url).query):
        reason = reason.replace(secret, shard) if secret else reason
    return CuratorError(f"{shard} cannot be read: {reason}; make it readable and run again")


def _whole(read: Read, data: bytes) -> bytes:
    wanted = read.end - read.start
    if len(data) > wanted:
        raise CuratorError(f"{read.shard}: its server sends whole files where a range is asked: copy it first")
    if len(data) < wanted:
        end = read.start + len(data)
        place = next(place for place in read.places if place.source + place.size > end or not place.size)
        raise changed(place, f"the shard ends before its member at byte {place.source} does")
    return data


def _url(read: Read, urls: Mapping[str, str]) -> str:
    return urls.get(read.shard, read.shard)


def _begin(place: Place) -> int:
    return place.source - ustar.BLOCK


def _runs(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Neighbours that are near enough to be read in one go."""
    run: list[Place] = []
    end = 0
    for place in places:
        if run and _begin(place) - end > MAX_GAP:
            yield run
            run = []
        run.append(place)
        end = max(end, place.source + place.size)
    if run:
        yield run


def _cut(shard: str, run: list[Place]) -> Iterator[Read]:
    last = max(place.source + place.size for place in run)
    waiting = deque(run)
    for start in range(_begin(run[0]), last, MAX_READ):
        end = min(start + MAX_READ, last)
        places = []
        while waiting and _begin(waiting[0]) < end:
            places.append(waiting.popleft())
        yield Read(shard, start, end, tuple(places))
        waiting.extendleft(reversed([place for place in places if place.source + place.size > end]))
