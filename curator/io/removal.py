"""Removing files and objects by their exact names, and what killed writers left."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fsspec.asyn import AsyncFileSystem

from curator.io.filesystems import is_local, join, local_path, resolve, resolve_writable
from curator.io.retry import retried
from curator.io.scratch import remove_left_scratch
from curator.io.states import REMOTE_THREADS, TEMPORARY, exists

__all__ = ["OWNER", "abort_uploads_of", "remove", "remove_files", "remove_temporaries"]

# The file that says who holds a run directory: see `curator.io.run_lock`.
OWNER = "owner.json"
# Objects that S3 deletes by one request.
AT_ONCE = 1000

_log = logging.getLogger(__name__)


def remove(url: str) -> None:
    """Remove a file, or a directory with everything below it. Nothing happens if there is none.

    Objects are listed and then deleted by their exact names, so a `*` in a name is a `*`.

    Raises:
        OSError: something could not be removed.
    """
    if is_local(url):
        _remove_local(local_path(url))
        return
    filesystem, path = resolve_writable(url)
    # Object stores have no directories, but a name may be an object and the beginning of others.
    is_tree = not isinstance(filesystem, AsyncFileSystem)
    below = retried(lambda: filesystem.find(path, withdirs=is_tree, detail=True), where=path)
    if isinstance(below, list):
        below = {}  # adlfs, of a name that is an object: what lies below it is not listed
    if path not in below:
        filesystem.invalidate_cache()  # the listing makes it a directory
        with contextlib.suppress(FileNotFoundError):
            below[path] = retried(lambda: filesystem.info(path), where=path)
    _remove_files(filesystem, sorted(name for name, info in below.items() if info["type"] != "directory"))
    if is_tree:
        for name in sorted((name for name, info in below.items() if info["type"] == "directory"), reverse=True):
            filesystem.rmdir(name)


def remove_files(urls: Sequence[str]) -> None:
    """Remove files of one store, by one request for many where it can. Those that are not there are passed over.

    Raises:
        OSError: something could not be removed.
    """
    for url in filter(is_local, urls):
        local_path(url).unlink(missing_ok=True)
    remote = [resolve_writable(url) for url in urls if not is_local(url)]
    if remote:
        _remove_files(remote[0][0], [path for _, path in remote])


def remove_temporaries(url: str) -> None:
    """Remove what killed writers left below a directory. Only the owner of the directory may do so.

    That is: half-written local files, unfinished uploads to S3, and folders of ended processes in this machine's
    TMPDIR. A directory below that has an owner of its own is left alone.
    """
    remove_left_scratch()
    if is_local(url):
        for file in _local_temporaries(local_path(url)):
            file.unlink(missing_ok=True)
        return
    filesystem, path = resolve(url)
    if "s3" in filesystem.protocol:
        bucket, key, _ = filesystem.split_path(path)
        prefix = f"{key.rstrip('/')}/" if key else ""
        root = f"s3://{bucket}/{prefix}".rstrip("/")
        owned: dict[str, bool] = {}
        _abort(filesystem, bucket, prefix, lambda name: not _is_owned_below(root, name.removeprefix(prefix), owned))


def abort_uploads_of(filesystem: Any, path: str) -> None:
    """Abort the unfinished uploads of one object, if its store is S3."""
    if "s3" in filesystem.protocol:
        bucket, key, _ = filesystem.split_path(path)
        _abort(filesystem, bucket, key, lambda name: name == key)


def _remove_local(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def _remove_files(filesystem: Any, names: list[str]) -> None:
    if "s3" in filesystem.protocol:
        for start in range(0, len(names), AT_ONCE):
            _remove_from_s3(filesystem, names[start : start + AT_ONCE])
        return

    def remove_file(name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            retried(lambda: filesystem.rm_file(name))

    with ThreadPoolExecutor(REMOTE_THREADS) as threads:
        list(threads.map(remove_file, names))


def _remove_from_s3(filesystem: Any, names: list[str]) -> None:
    # Not fsspec's way, which says nothing of objects that were not deleted.
    bucket = filesystem.split_path(names[0])[0]
    keys = [{"Key": name.removeprefix(f"{bucket}/")} for name in names]
    answer = retried(
        lambda: filesystem.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    )
    filesystem.invalidate_cache()
    if errors := [error for error in answer.get("Errors", []) if error.get("Code") != "NoSuchKey"]:
        one = errors[0]
        raise OSError(f"{len(errors)} objects could not be removed, the first {one.get('Key')}: {one.get('Message')}")


def _local_temporaries(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if Path(folder) != root and OWNER in names:
            folders.clear()
            continue
        yield from (Path(folder) / name for name in names if name.startswith(".") and name.endswith(TEMPORARY))


def _is_owned_below(root: str, name: str, known: dict[str, bool]) -> bool:
    """Whether a folder between the root and this name below it has an owner of its own."""
    pieces = name.split("/")[:-1]
    for count in range(1, len(pieces) + 1):
        folder = join(root, *pieces[:count])
        if folder not in known:
            known[folder] = exists(join(folder, OWNER))
        if known[folder]:
            return True
    return False


def _abort(filesystem: Any, bucket: str, prefix: str, wanted: Any) -> None:
    try:
        for upload in list(_uploads(filesystem, bucket, prefix)):
            if wanted(upload["Key"]):
                with contextlib.suppress(FileNotFoundError):
                    _call(filesystem, "abort_multipart_upload", bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except OSError as error:
        # A key that may write need not be one that may list uploads, and they harm nobody but the bill.
        _log.info("unfinished uploads below s3://%s/%s were not looked for: %s", bucket, prefix, error)


def _uploads(filesystem: Any, bucket: str, prefix: str) -> Iterable[dict[str, Any]]:
    marks: dict[str, str] = {}
    while True:
        answer = _call(filesystem, "list_multipart_uploads", bucket, Prefix=prefix, **marks)
        yield from answer.get("Uploads", [])
        if not answer.get("IsTruncated"):
            return
        marks = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def _call(filesystem: Any, method: str, bucket: str, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = retried(lambda: filesystem.call_s3(method, Bucket=bucket, **arguments))
    return answer
