"""Files and objects, local or remote, through fsspec.

Nothing half-written ever stands under a final name. A local file is written beside it and renamed; an
object is built locally and put in one call, because fsspec's own file object commits what it has when an
exception closes it. A failed multipart upload is aborted by the filesystem's `put_file`.

Every request to remote storage is tried again where that can help (see `curator.io.retry`).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from curator.errors import UnusableInput
from curator.io import retry
from curator.io.retry import ChangedError, RangeStream, retried

__all__ = [
    "ChangedError",
    "Stat",
    "check_unchanged",
    "dangling_target",
    "exists",
    "free_bytes",
    "is_directory",
    "is_local",
    "join",
    "list_names",
    "list_tree",
    "local_path",
    "local_stat",
    "open_stream",
    "read_bytes",
    "read_range",
    "remove",
    "remove_temporaries",
    "stat",
    "stat_many",
    "write_bytes",
    "write_file",
]

TEMPORARY = ".curator-tmp"
REMOTE_THREADS = 32


@dataclass(frozen=True, slots=True)
class Stat:
    """What tells one state of a file from another.

    Attributes:
        size: bytes.
        version: the object's etag, or the local file's mtime in nanoseconds.
    """

    size: int
    version: str


def resolve(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path inside it.

    Raises:
        UnusableInput: the scheme is unknown or its package (s3fs, gcsfs, ...) is not installed.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}.get(url.partition("://")[0])
        advice = f"pip install 'coreset-curator[{extra}]'" if extra else ()
        raise UnusableInput(f"cannot open {url}: {error}", advice=advice) from error
    except ValueError as error:
        raise UnusableInput(f"cannot open {url}: {error}") from error
    if "s3" in filesystem.protocol:
        # Attempts of nested layers multiply, and `retried` makes enough of them.
        filesystem.retries = 1
    return filesystem, path


def is_local(url: str) -> bool:
    """True for plain paths and `file://` URLs."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """The path of a local URL."""
    return Path(url.removeprefix("file://"))


def join(url: str, *names: str) -> str:
    """A URL below another.

    >>> join("s3://bucket/run/", "pool", "done")
    's3://bucket/run/pool/done'
    """
    return "/".join([url.rstrip("/"), *names])


def _resolve_uncached(url: str) -> tuple[Any, str]:
    """As `resolve`, with remembered listings dropped, because other processes write to the same place."""
    filesystem, path = resolve(url)
    filesystem.invalidate_cache()
    return filesystem, path


def exists(url: str) -> bool:
    """True if a file, object or directory is there now."""
    if is_local(url):
        return local_path(url).exists()
    filesystem, path = _resolve_uncached(url)
    return bool(retried(lambda: filesystem.exists(path)))


def is_directory(url: str) -> bool:
    """True for a directory, or a prefix with objects below it."""
    if is_local(url):
        return local_path(url).is_dir()
    filesystem, path = _resolve_uncached(url)
    return bool(retried(lambda: filesystem.isdir(path)))


def stat(url: str) -> Stat:
    """Size and version of one file.

    Raises:
        FileNotFoundError: it is not there.
    """
    if is_local(url):
        return local_stat(local_path(url))
    filesystem, path = _resolve_uncached(url)
    return _info_stat(retried(lambda: filesystem.info(path)))


def stat_many(urls: Iterable[str]) -> dict[str, Stat]:
    """Sizes and versions of many files; those that do not exist are left out.

    Remote files are looked up by listing their directories, one request a thousand objects, where the
    filesystem can list; else one by one, in threads.
    """
    urls = list(urls)
    remote = [url for url in urls if not is_local(url)]
    states = dict(_maybe_stat(url) for url in urls if is_local(url))
    by_parent: dict[str, list[str]] = {}
    for url in remote:
        by_parent.setdefault(url.rpartition("/")[0], []).append(url)
    single: list[str] = []
    for parent, children in by_parent.items():
        if len(children) > 2 and not parent.startswith("http"):
            states.update(_stat_by_listing(parent, children))
        else:
            single.extend(children)
    if single:
        with ThreadPoolExecutor(REMOTE_THREADS) as threads:
            states.update(threads.map(_maybe_stat, single))
    return {url: state for url, state in states.items() if state is not None}


def _maybe_stat(url: str) -> tuple[str, Stat | None]:
    try:
        return url, stat(url)
    except (FileNotFoundError, NotADirectoryError):
        return url, None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return url, None
        raise


def _stat_by_listing(parent: str, children: list[str]) -> dict[str, Stat | None]:
    filesystem, path = _resolve_uncached(parent)
    try:
        listing = retried(lambda: filesystem.ls(path, detail=True))
    except FileNotFoundError:
        return dict.fromkeys(children)
    by_name = {entry["name"].rpartition("/")[2]: entry for entry in listing if entry["type"] == "file"}
    return {url: _info_stat(by_name[name]) if (name := url.rpartition("/")[2]) in by_name else None for url in children}


def local_stat(file: Path | int) -> Stat:
    """Size and version of a local file, or of an open one by its number."""
    state = os.stat(file)
    return Stat(state.st_size, str(state.st_mtime_ns))


def _info_stat(info: dict[str, Any]) -> Stat:
    version = next(
        (str(info[name]) for name in ("ETag", "etag", "mtime", "LastModified", "updated") if info.get(name)),
        "",
    )
    return Stat(int(info.get("size") or 0), version.strip('"'))


def list_names(url: str) -> list[str]:
    """Names of the files directly below a directory, sorted; empty if there is no such directory.

    Symbolic links to files are files, and so are those that lead nowhere.
    """
    filesystem, path = _resolve_uncached(url)
    try:
        entries = retried(lambda: filesystem.ls(path, detail=True))
    except (FileNotFoundError, NotADirectoryError):
        return []
    files = (entry["name"].rstrip("/") for entry in entries if entry["type"] == "file" or _links_no_folder(entry))
    names = (name.rpartition("/")[2] for name in files)
    return sorted(name for name in names if name and not name.endswith(TEMPORARY))


def list_tree(url: str) -> list[tuple[str, Stat]]:
    """Every file below a directory as (relative path, state), sorted by path.

    Links are followed; one that leads nowhere is listed as an empty file. A directory that is met again, by a link to
    it or around a circle of links, is listed under the first of its names, its own before those of links.
    """
    filesystem, path = _resolve_uncached(url)
    if isinstance(filesystem, LocalFileSystem):
        root = Path(path)
        states = ((file.relative_to(root).as_posix(), _walked_stat(file)) for file in _walk(root))
        return sorted((name, state) for name, state in states if state is not None)
    infos = retried(lambda: filesystem.find(path, detail=True))
    prefix = path.rstrip("/") + "/"
    return [(name.removeprefix(prefix), _info_stat(infos[name])) for name in sorted(infos)]


def _links_no_folder(entry: dict[str, Any]) -> bool:
    return bool(entry.get("islink")) and not os.path.isdir(entry["name"])


def _walked_stat(file: Path) -> Stat | None:
    """The state of a file that was listed; None if it has gone since."""
    if (state := _maybe_stat(str(file))[1]) is not None:
        return state
    return Stat(0, "") if file.is_symlink() else None


def dangling_target(url: str) -> str | None:
    """What a symbolic link leads to that leads nowhere; None for anything else."""
    if not is_local(url):
        return None
    path = local_path(url)
    return os.readlink(path) if path.is_symlink() and _maybe_stat(url)[1] is None else None


def _walk(root: Path) -> Iterator[Path]:
    met = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in met:
            folders.clear()
            continue
        met.add(real)
        folders.sort(key=lambda name: (os.path.islink(os.path.join(folder, name)), name))
        yield from (Path(folder) / name for name in names)


def check_unchanged(url: str, state: Stat, current: Stat | None = None) -> None:
    """Raise `ChangedError` if a file is not in this state any more.

    Args:
        url: the file.
        state: the state that it had.
        current: the state that it has, where that is known already.
    """
    if (current or stat(url)) != state:
        raise ChangedError(f"{url} changed while it was read")


def open_stream(url: str, state: Stat | None = None) -> BinaryIO:
    """Open a file for reading from front to back; remote ones are read ahead in large blocks.

    A remote read that breaks goes on where it broke.

    Args:
        url: the file.
        state: the state that the file must be in. Where the store can check it (S3, HTTP with etags) it is checked
            with every read.

    Raises:
        ChangedError: the file is in another state. This may show at once or in a later read.
    """
    if is_local(url):
        file = open(local_path(url), "rb", buffering=1 << 20)  # noqa: SIM115
        if state is not None and local_stat(file.fileno()) != state:
            file.close()
            raise ChangedError(f"{url} changed before it was read")
        return file
    filesystem, path = resolve(url)
    info = retried(lambda: filesystem.info(path))
    current = _info_stat(info)
    if state is not None:
        check_unchanged(url, state, current)
    if info.get("size") is None or info.get("partial") is False:
        # A server that knows no ranges: read in one go, and nothing to go on from where it breaks.
        return cast(BinaryIO, filesystem.open(path, "rb", block_size=0))
    version = current.version if state is not None else ""
    stream = RangeStream(lambda start, end: retry.read_range(filesystem, path, start, end, version), current.size)
    return io.BufferedReader(stream, 1 << 20)


def read_bytes(url: str) -> bytes:
    """The whole of a file."""
    if is_local(url):
        return local_path(url).read_bytes()
    filesystem, path = resolve(url)
    return cast(bytes, retried(lambda: filesystem.cat_file(path)))


def read_range(url: str, start: int, end: int, state: Stat | None = None) -> bytes:
    """Bytes [start, end) of a file; fewer where it ends before.

    Args:
        url: the file.
        start: first byte.
        end: the byte after the last.
        state: the state that the file must be in, as far as the store can check it: see `open_stream`.

    Raises:
        ChangedError: the file is in another state.
    """
    filesystem, path = resolve(url)
    if is_local(url):
        return cast(bytes, filesystem.cat_file(path, start=start, end=end))
    return retry.read_range(filesystem, path, start, end, state.version if state else "")


@contextlib.contextmanager
def write_file(url: str) -> Iterator[Path]:
    """Write a whole file: fill the local path it yields; it appears under `url` when the block ends well.

    An exception inside the block leaves nothing behind, neither at `url` nor beside it. A file that stood at
    `url` before stands until it is replaced.

    >>> with write_file("/tmp/example.txt") as path:
    ...     _ = path.write_text("whole")
    """
    if is_local(url):
        final = local_path(url)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{TEMPORARY}")
        try:
            yield temporary
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        return
    filesystem, path = resolve(url)
    with tempfile.TemporaryDirectory(prefix="curator-") as folder:
        temporary = Path(folder) / "object"
        yield temporary
        retried(lambda: filesystem.put_file(str(temporary), path))


def write_bytes(url: str, data: bytes) -> None:
    """Write a whole file from memory, atomically as `write_file`."""
    with write_file(url) as path:
        path.write_bytes(data)


def remove(url: str) -> None:
    """Remove a file, or a directory with everything below it. Nothing happens if there is none."""
    filesystem, path = _resolve_uncached(url)
    with contextlib.suppress(FileNotFoundError):
        retried(lambda: filesystem.rm(path, recursive=True))


def remove_temporaries(url: str) -> None:
    """Remove the files that killed writers left below a local directory. Only the owner of the directory may do so."""
    if is_local(url):
        for path in local_path(url).rglob(f".*{TEMPORARY}"):
            path.unlink(missing_ok=True)


def free_bytes(url: str) -> int | None:
    """Free space where `url` will be written; None for object stores, which have no such number."""
    if not is_local(url):
        return None
    path = local_path(url).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
