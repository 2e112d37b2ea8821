"""Files and objects, local or remote, through fsspec.

Nothing half-written ever stands under a final name. A local file is written beside it and renamed; an
object is built locally and put in one call, because fsspec's own file object commits what it has when an
exception closes it. A failed multipart upload is aborted by the filesystem's `put_file`.

Every request to remote storage is tried again where that can help (see `curator.io.retry`), and every name is taken as
it is (see `curator.io.filesystems`).
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from curator.errors import InputError
from curator.io.faults import ChangedError
from curator.io.filesystems import is_local, join, local_path, resolve, resolve_writable
from curator.io.names import public_name
from curator.io.ranges import NoRangesError, RangeStream, read_range as read_remote_range, read_whole
from curator.io.removal import abort_uploads_of, remove, remove_files, remove_temporaries
from curator.io.retry import retried
from curator.io.scratch import check_scratch_space, scratch_folder
from curator.io.states import (
    REMOTE_THREADS,
    TEMPORARY,
    Stat,
    check_unchanged,
    dangling_target,
    exists,
    file_info,
    info_stat,
    is_directory,
    list_entries,
    list_files,
    list_names,
    list_tree,
    local_stat,
    stat,
    stat_many,
)
from curator.io.traffic import CountedFile, count_traffic

__all__ = [
    "REMOTE_THREADS",
    "TEMPORARY",
    "ChangedError",
    "NoRangesError",
    "Stat",
    "before_commits",
    "check_unchanged",
    "check_writable",
    "dangling_target",
    "exists",
    "free_bytes",
    "is_directory",
    "is_local",
    "join",
    "list_entries",
    "list_files",
    "list_names",
    "list_tree",
    "local_path",
    "local_stat",
    "open_stream",
    "read_bytes",
    "read_range",
    "remove",
    "remove_files",
    "remove_temporaries",
    "resolve",
    "scratch_folder",
    "stat",
    "stat_many",
    "write_bytes",
    "write_file",
]

# A file that is replaced again and again while it is read as a whole.
MAX_CHANGES = 5


def open_stream(url: str, state: Stat | None = None) -> BinaryIO:
    """Open a file for reading from front to back; remote ones are read ahead in large blocks.

    A remote read that breaks goes on where it broke.

    Args:
        url: the file.
        state: the state that the file must be in. Where the store can check it (S3, HTTP with etags or dates) it is
            checked with every read.

    Raises:
        ChangedError: the file is in another state. This may show at once or in a later read.
        NoRangesError: the server sends whole files only. This may show at once or in a later read.
    """
    if is_local(url):
        file = io.BufferedReader(CountedFile(local_path(url)), 1 << 20)
        if state is not None and local_stat(file.fileno()) != state:
            file.close()
            raise ChangedError(f"{public_name(url)} changed before it was read")
        return file
    filesystem, path = resolve(url)
    info = file_info(filesystem, path)
    if info.get("partial") is False:
        raise NoRangesError(url)
    current = info_stat(info)
    if state is not None:
        check_unchanged(url, state, current)
    version = current.version if state is not None else ""
    stream = RangeStream(lambda start, end: read_remote_range(filesystem, path, start, end, version), current.size)
    return io.BufferedReader(stream, 1 << 20)


def read_bytes(url: str) -> bytes:
    """The whole of a file, in one of its states. A remote read that breaks goes on where it broke.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be read.
    """
    if is_local(url):
        data = local_path(url).read_bytes()
        count_traffic(read=len(data))
        return data
    filesystem, path = resolve(url)
    for _ in range(MAX_CHANGES):
        with contextlib.suppress(ChangedError):
            return read_whole(filesystem, path)
    raise ChangedError(f"{public_name(url)} changed {MAX_CHANGES} times while it was read")


def read_range(url: str, start: int, end: int, state: Stat | None = None) -> bytes:
    """Bytes [start, end) of a file; fewer where it ends before.

    Args:
        url: the file.
        start: first byte.
        end: the byte after the last.
        state: the state that the file must be in, as far as the store can check it: see `open_stream`.

    Raises:
        ChangedError: the file is in another state.
        NoRangesError: the server sends whole files only.
    """
    if is_local(url):
        with open(local_path(url), "rb") as file:
            file.seek(start)
            data = file.read(max(0, end - start))
        count_traffic(read=len(data))
        return data
    filesystem, path = resolve(url)
    return read_remote_range(filesystem, path, start, end, state.version if state else "")


@contextlib.contextmanager
def before_commits(check: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call `check` before a file of this process gets its final name, in whatever thread.

    What it raises keeps the file from being written.
    """
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


_checks: list[Callable[[], None]] = []


def _check_commit() -> None:
    for check in tuple(_checks):
        check()


@contextlib.contextmanager
def write_file(url: str, size: int = 0) -> Iterator[Path]:
    """Write a whole file: fill the local path it yields; it appears under `url` when the block ends well.

    An exception inside the block leaves nothing behind, neither at `url` nor beside it. A file that stood at
    `url` before stands until it is replaced. An object is built below TMPDIR, which needs as many bytes.

    Args:
        url: the file.
        size: the bytes that it will have at least, where that is known.

    Raises:
        CuratorError: TMPDIR has no room for the object.
        Exception: what a check of `before_commits` raised; nothing was written.

    >>> with write_file("/tmp/example.txt") as path:
    ...     _ = path.write_text("whole")
    """
    if is_local(url):
        final = local_path(url)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{TEMPORARY}")
        try:
            yield temporary
            _check_commit()
            count_traffic(written=temporary.stat().st_size)
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        return
    filesystem, path = resolve_writable(url)
    check_scratch_space(size)
    with scratch_folder() as folder:
        temporary = folder / "object"
        yield temporary
        _check_commit()
        try:
            retried(lambda: filesystem.put_file(str(temporary), path), where=path)
            count_traffic(written=temporary.stat().st_size)
        except (KeyboardInterrupt, SystemExit):
            # The upload goes on in a thread of the filesystem, which dies with the process.
            abort_uploads_of(filesystem, path)
            raise


def check_writable(url: str, field: str) -> None:
    """Find before any work what `write_file` would refuse only at its end.

    A local folder is made and tried. Of an object store only the name is checked: to try it with an object would need
    the right to remove one.

    Args:
        url: the file that is to be written.
        field: the setting that names it, for the error.

    Raises:
        InputError: it is a folder, or nothing can be written there.
    """
    if not is_local(url):
        resolve_writable(url)
        return
    final = local_path(url)
    if final.is_dir():
        raise InputError("it is a folder, not a file", field=field, value=url)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=final.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", field=field, value=url) from error


def write_bytes(url: str, data: bytes) -> None:
    """Write a whole file from memory, atomically as `write_file`."""
    with write_file(url) as path:
        path.write_bytes(data)


def free_bytes(url: str) -> int | None:
    """Free space where `url` will be written; None for object stores, which have no such number."""
    if not is_local(url):
        return None
    path = local_path(url).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
