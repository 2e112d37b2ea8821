"""Objects that are written on a condition: only if there is none, or only if nobody has replaced it since.

Every store has its own words for it: S3 and Azure compare etags (If-None-Match, If-Match), Google's compares
generations (ifGenerationMatch). A disk makes a file by link(2), of which only one of many succeeds, also over NFS and
where flock(2) is not there. The times are the store's own, since the clocks of two machines may differ by more than a
lease lasts.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import fsspec.asyn

from curator.io.faults import status_of
from curator.io.filesystems import is_local, local_path, resolve
from curator.io.retry import retried
from curator.io.states import TEMPORARY
from curator.io.traffic import count_traffic

__all__ = ["ObjectState", "can_put_if", "object_state", "place_of", "put_if", "renew_if", "was_refused"]


@dataclass(frozen=True)
class ObjectState:
    """What a store tells of an object.

    Attributes:
        version: changes with every write: an etag, a generation, or a file's inode and time.
        written: when it was written.
        now: the time of the answer, by the same clock.
    """

    version: str
    written: datetime
    now: datetime


def can_put_if(url: str) -> bool:
    """True for disks, and for stores that can write on a condition."""
    return is_local(url) or any(url.partition("://")[0] in store.schemes for store in _STORES)


def place_of(url: str) -> tuple[Any, str]:
    """What the functions of this module take for a URL: its filesystem, None for a disk, and the path inside it."""
    return (None, str(local_path(url))) if is_local(url) else resolve(url)


def object_state(filesystem: Any, path: str) -> ObjectState:
    """The state of an object now.

    Raises:
        FileNotFoundError: there is none.
        OSError: the store failed to answer.
    """
    store = _store_of(filesystem)
    state: ObjectState = retried(lambda: store.state(filesystem, path), where=path)
    return state


def object_version(filesystem: Any, path: str) -> str:
    """The version of an object now, as `object_state` has it; on a disk without the clock, which costs a file.

    Raises:
        OSError: as `object_state`.
    """
    return _disk_version(os.stat(path)) if filesystem is None else object_state(filesystem, path).version


def put_if(filesystem: Any, path: str, data: bytes, version: str | None) -> None:
    """Write an object if it has this version, or with None, if there is none.

    Raises:
        OSError: it was not written; see `was_refused`. Also after an answer was lost, when the object may be ours.
    """
    store = _store_of(filesystem)
    retried(lambda: store.put(filesystem, path, data, version), where=path)
    count_traffic(written=len(data))


def renew_if(filesystem: Any, path: str, data: bytes, version: str) -> None:
    """Make an object that has this version newer. On a disk the file gets another time, and keeps its content.

    Raises:
        OSError: as `put_if`.
    """
    store = _store_of(filesystem)
    retried(lambda: store.renew(filesystem, path, data, version), where=path)


def was_refused(error: OSError) -> bool:
    """True if the condition did not hold: another process wrote the object."""
    return isinstance(error, FileExistsError) or status_of(error) in (409, 412)


def _s3_state(filesystem: Any, path: str) -> ObjectState:
    bucket, key, _ = filesystem.split_path(path)
    answer = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return ObjectState(answer["ETag"], answer["LastModified"], _time(date))


def _s3_put(filesystem: Any, path: str, data: bytes, version: str | None) -> None:
    condition = {"mode": "create"} if version is None else {"IfMatch": version}
    filesystem.pipe_file(path, data, **condition)


def _gcs_state(filesystem: Any, path: str) -> ObjectState:
    bucket, key, _ = filesystem.split_path(path)
    headers, content = filesystem.call("GET", "b/{}/o/{}", bucket, key)
    record = json.loads(content)
    return ObjectState(str(record["generation"]), datetime.fromisoformat(record["updated"]), _time(headers.get("Date")))


def _gcs_put(filesystem: Any, path: str, data: bytes, version: str | None) -> None:
    bucket, key, _ = filesystem.split_path(path)
    # gcsfs itself knows only the condition that there is none. Generation 0 says the same.
    url = f"{filesystem._location}/upload/storage/v1/b/{{}}/o"
    filesystem.call("POST", url, bucket, uploadType="media", name=key, ifGenerationMatch=version or "0", data=data)
    filesystem.invalidate_cache()


def _azure_state(filesystem: Any, path: str) -> ObjectState:
    container, key, _ = filesystem.split_path(path)
    dates: list[str] = []

    async def look() -> Any:
        async with filesystem.service_client.get_blob_client(container=container, blob=key) as client:
            return await client.get_blob_properties(
                raw_response_hook=lambda answer: dates.append(answer.http_response.headers.get("Date", ""))
            )

    properties = fsspec.asyn.sync(filesystem.loop, look)
    return ObjectState(properties["etag"], properties["last_modified"], _time(dates[-1] if dates else None))


def _azure_put(filesystem: Any, path: str, data: bytes, version: str | None) -> None:
    if version is None:
        filesystem.pipe_file(path, data, mode="create")
        return
    from azure.core import MatchConditions

    filesystem.pipe_file(path, data, etag=version, match_condition=MatchConditions.IfNotModified)


def _disk_state(filesystem: None, path: str) -> ObjectState:
    state = os.stat(path)
    return ObjectState(_disk_version(state), datetime.fromtimestamp(state.st_mtime, UTC), _disk_time(path))


def _disk_version(state: os.stat_result) -> str:
    return f"{state.st_ino}-{state.st_mtime_ns}"


def _disk_time(path: str) -> datetime:
    """The time by the clock of the disk, which of a file system of many machines is another one's."""
    try:
        with _beside(path, b"") as temporary:
            return datetime.fromtimestamp(os.stat(temporary).st_mtime, UTC)
    except OSError:
        # Who only looks may have no right to write here.
        return datetime.now(UTC)


@contextlib.contextmanager
def _beside(path: str, data: bytes) -> Iterator[str]:
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}{TEMPORARY}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _disk_put(filesystem: None, path: str, data: bytes, version: str | None) -> None:
    with _beside(path, data) as temporary:
        if version is not None:
            _take_away(path, version)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # Of a request that was sent twice, a server may answer the second.
            if os.stat(temporary).st_nlink != 2:
                raise


def _take_away(path: str, version: str) -> None:
    """Remove a file if it has this version. Of many who try, the one whose rename succeeds has it."""
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}{TEMPORARY}")
    os.rename(path, aside)
    try:
        if _disk_version(os.stat(aside)) != version:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            raise FileExistsError(path)
    finally:
        os.unlink(aside)


def _disk_renew(filesystem: None, path: str, data: bytes, version: str) -> None:
    file = os.open(path, os.O_RDWR)
    try:
        # By the open file: what another puts in its place meanwhile is not touched.
        if _disk_version(os.fstat(file)) != version:
            raise FileExistsError(path)
        os.utime(file)
    finally:
        os.close(file)


@dataclass(frozen=True)
class _Store:
    schemes: tuple[str, ...]
    state: Callable[[Any, str], ObjectState]
    put: Callable[[Any, str, bytes, str | None], None]
    renew: Callable[[Any, str, bytes, str], None]


_DISK = _Store((), _disk_state, _disk_put, _disk_renew)
_STORES = (
    _Store(("s3", "s3a"), _s3_state, _s3_put, _s3_put),
    _Store(("gs", "gcs"), _gcs_state, _gcs_put, _gcs_put),
    _Store(("az", "abfs", "abfss"), _azure_state, _azure_put, _azure_put),
)


def _store_of(filesystem: Any) -> _Store:
    if filesystem is None:
        return _DISK
    protocols = filesystem.protocol if isinstance(filesystem.protocol, tuple | list) else (filesystem.protocol,)
    return next(store for store in _STORES if not set(store.schemes).isdisjoint(protocols))


def _time(date: str | None) -> datetime:
    return parsedate_to_datetime(date) if date else datetime.now(UTC)
