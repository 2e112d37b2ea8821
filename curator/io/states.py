"""What is there now: sizes and versions of files, and listings."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator.errors import UnusableInput
from curator.io.faults import ChangedError
from curator.io.filesystems import is_local, join, local_path, resolve_fresh
from curator.io.names import public_name
from curator.io.retry import attempts_of, retried

__all__ = [
    "Stat",
    "check_unchanged",
    "dangling_target",
    "exists",
    "file_info",
    "info_stat",
    "is_directory",
    "list_entries",
    "list_files",
    "list_names",
    "list_tree",
    "local_stat",
    "stat",
    "stat_many",
]

TEMPORARY = ".curator-tmp"
REMOTE_THREADS = 32
# Files of a remote directory that are looked up one by one; a listing has as many in a request.
MAX_SINGLE = 1000
# What stores call the thing that changes with a file's content, the surest first: S3 and HTTP, the Hub's git and its
# buckets, GCS, Azure, HTTP servers without etags.
VERSIONS = (
    *("ETag", "etag", "blob_id", "xet_hash", "generation", "md5Hash"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "last_commit"),
)


@dataclass(frozen=True, slots=True)
class Stat:
    """What tells one state of a file from another.

    Attributes:
        size: bytes.
        version: the object's etag or what its store gives instead, or the local file's mtime in nanoseconds. Empty
            where a store gives nothing: then another content of the same size cannot be told from it.
    """

    size: int
    version: str


def exists(url: str) -> bool:
    """True if a file, object or directory is there now.

    Raises:
        OSError: the store failed to answer, or denies access.
    """
    if is_local(url):
        return local_path(url).exists()
    filesystem, path = resolve_fresh(url)
    try:
        info = retried(lambda: filesystem.info(path), where=path)
    except FileNotFoundError:
        return False
    # s3fs believes the count of a listing. Some stores count what they do not list, so any name would be there.
    is_counted = "s3" in filesystem.protocol and info["type"] == "directory"
    return not is_counted or bool(retried(lambda: filesystem.isdir(path), where=path))


def is_directory(url: str) -> bool:
    """True for a directory, or a prefix with objects below it. Over HTTP: for a page, which may list files."""
    if is_local(url):
        return local_path(url).is_dir()
    filesystem, path = resolve_fresh(url)
    if "s3" in filesystem.protocol:  # an object may have the same name
        return bool(retried(lambda: filesystem.isdir(path), where=path))
    try:
        info = retried(lambda: filesystem.info(path), where=path)
    except FileNotFoundError:
        return False
    if "http" in filesystem.protocol:
        # To look for links in it is to fetch it, whatever its size.
        return info.get("mimetype") == "text/html" and bool(retried(lambda: filesystem.isdir(path), where=path))
    return bool(info["type"] == "directory")


def stat(url: str) -> Stat:
    """Size and version of one file.

    Raises:
        FileNotFoundError: it is not there.
        UnusableInput: its server does not tell its size.
    """
    if is_local(url):
        return local_stat(local_path(url))
    filesystem, path = resolve_fresh(url)
    return info_stat(file_info(filesystem, path))


def stat_many(urls: Iterable[str]) -> dict[str, Stat]:
    """Sizes and versions of many files; those that do not exist are left out.

    Up to a thousand remote files of a directory are looked up one by one, in threads; more of them, and more than two
    of the Hub's, by listing the directory, one request a thousand objects, where the filesystem can list.
    """
    urls = list(urls)
    remote = [url for url in urls if not is_local(url)]
    states = dict(_maybe_stat(url) for url in urls if is_local(url))
    by_parent: dict[str, list[str]] = {}
    for url in remote:
        by_parent.setdefault(url.rpartition("/")[0], []).append(url)
    single: list[str] = []
    for parent, children in by_parent.items():
        if len(children) > _most_single(parent):
            states.update(_stat_by_listing(parent, children))
        else:
            single.extend(children)
    if single:
        with ThreadPoolExecutor(REMOTE_THREADS) as threads:
            states.update(threads.map(_maybe_stat, single))
    return {url: state for url, state in states.items() if state is not None}


def _most_single(parent: str) -> float:
    """So many files of a directory are looked up one by one: there may be millions beside them."""
    if parent.startswith("http"):
        return math.inf
    # The Hub allows a few hundred requests in five minutes, and few files in a folder.
    return 2 if parent.startswith("hf:") else MAX_SINGLE


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
    filesystem, path = resolve_fresh(parent)
    try:
        listing = retried(lambda: filesystem.ls(path, detail=True), where=path)
    except FileNotFoundError:
        return dict.fromkeys(children)
    by_name = {entry["name"].rpartition("/")[2]: entry for entry in listing if entry["type"] == "file"}
    return {url: info_stat(by_name[name]) if (name := url.rpartition("/")[2]) in by_name else None for url in children}


def file_info(filesystem: Any, path: str) -> dict[str, Any]:
    """What a filesystem tells of one file, its version included."""
    # The Hub's filesystem drops the version unless it is asked for more.
    more = {"expand_info": True} if "hf" in filesystem.protocol else {}
    attempts = attempts_of(filesystem)
    info: dict[str, Any] = retried(lambda: filesystem.info(path, **more), where=path, attempts=attempts)
    return info


def local_stat(file: Path | int) -> Stat:
    """Size and version of a local file, or of an open one by its number."""
    state = os.stat(file)
    return Stat(state.st_size, str(state.st_mtime_ns))


def info_stat(info: dict[str, Any]) -> Stat:
    """The state that a filesystem's `info` tells.

    Raises:
        UnusableInput: it tells no size.
    """
    size = info.get("size", 0)
    if size is None:
        raise UnusableInput(
            f"{info['name']}: the server does not tell its size", advice="copy the file to a disk first"
        )
    version = next((str(info[name]) for name in VERSIONS if info.get(name)), "")
    return Stat(int(size), version.strip('"'))


def list_names(url: str) -> list[str]:
    """Names of the files directly below a directory, sorted; empty if there is no such directory.

    Symbolic links to files are files, and so are those that lead nowhere.
    """
    return list_entries(url)[0]


def list_entries(url: str) -> tuple[list[str], list[str]]:
    """Names of the files directly below a directory, as `list_names`, and those of its sub-directories, both sorted."""
    try:
        entries = list(_entries(url))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    files = sorted(name for name, is_file in entries if is_file and name and not name.endswith(TEMPORARY))
    return files, sorted(name for name, is_file in entries if not is_file and name)


def _entries(url: str) -> Iterator[tuple[str, bool]]:
    """Name of each entry, and whether it is a file."""
    if is_local(url):
        with os.scandir(local_path(url)) as entries:
            for entry in entries:
                if (is_file := _is_file(entry)) or os.path.isdir(entry):
                    yield entry.name, is_file
        return
    filesystem, path = resolve_fresh(url)
    for info in retried(lambda: filesystem.ls(path, detail=True), where=path):
        yield info["name"].rstrip("/").rpartition("/")[2], info["type"] == "file"


def list_files(url: str) -> dict[str, Stat]:
    """Name -> state of the files directly below a directory; empty if there is no such directory."""
    if is_local(url):
        states = {name: _maybe_stat(join(url, name))[1] for name in list_names(url)}
        return {name: state for name, state in states.items() if state is not None}
    filesystem, path = resolve_fresh(url)
    try:
        listing = retried(lambda: filesystem.ls(path, detail=True), where=path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    files = {info["name"].rstrip("/").rpartition("/")[2]: info for info in listing if info["type"] == "file"}
    return {name: info_stat(files[name]) for name in sorted(files) if name}


def _is_file(entry: os.DirEntry[str]) -> bool:
    return not os.path.isdir(entry) if entry.is_symlink() else entry.is_file()


def list_tree(url: str) -> list[tuple[str, Stat]]:
    """Every file below a directory as (relative path, state), sorted by path.

    Links are followed; one that leads nowhere is listed as an empty file. A directory that is met again, by a link to
    it or around a circle of links, is listed under the first of its names, its own before those of links.
    """
    if is_local(url):
        root = local_path(url)
        states = ((file.relative_to(root).as_posix(), _walked_stat(file)) for file in _walk(root))
        return sorted((name, state) for name, state in states if state is not None)
    filesystem, path = resolve_fresh(url)
    infos = retried(lambda: filesystem.find(path, detail=True), where=path)
    prefix = path.rstrip("/") + "/"
    return [(name.removeprefix(prefix), info_stat(infos[name])) for name in sorted(infos)]


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
        raise ChangedError(f"{public_name(url)} changed while it was read")
