"""Folders for objects that are built before they are put, below TMPDIR. What a killed process left is removed.

A folder gets its name only once its process holds a lock on it, which the kernel drops when the process ends, however
it ends. So a named folder that can be locked is nobody's any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from curator.errors import CuratorError

__all__ = ["check_scratch_space", "remove_left_scratch", "scratch_folder"]

PREFIX = "curator-scratch-"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder below TMPDIR that is removed at the end. Left ones are removed first, once a process.

    Raises:
        CuratorError: the disk of TMPDIR is full.
    """
    _sweep_once(os.getpid())
    unnamed = Path(tempfile.mkdtemp(prefix=".curator-new-"))
    lock = os.open(unnamed, os.O_RDONLY | os.O_CLOEXEC)
    folder = unnamed.with_name(PREFIX + unnamed.name.rpartition("-")[2])
    try:
        with contextlib.suppress(OSError):  # a disk without locks: then nothing is ever swept on it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(folder)
        yield folder
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _too_small(f"it has {_free_bytes():,} bytes left") from error
    finally:
        for path in (unnamed, folder):
            shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def check_scratch_space(size: int) -> None:
    """Raise `CuratorError` if TMPDIR has no room for so many bytes."""
    if size > (free := _free_bytes()):
        raise _too_small(f"it has {free:,} bytes left, and a file of {size:,} is built there before it is uploaded")


def remove_left_scratch() -> int:
    """Remove the folders of this user's processes that have ended. Returns how many there were."""
    return sum(map(_remove_if_left, Path(tempfile.gettempdir()).glob(f"{PREFIX}*")))


@functools.cache
def _sweep_once(process: int) -> None:
    remove_left_scratch()


def _remove_if_left(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone meanwhile, or another user's
        return False
    try:
        if os.fstat(lock).st_uid != os.getuid():
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # held by a process that is alive
        return False
    finally:
        os.close(lock)
    return True


def _free_bytes() -> int:
    return shutil.disk_usage(tempfile.gettempdir()).free


def _too_small(why: str) -> CuratorError:
    folder = tempfile.gettempdir()
    return CuratorError(f"no room in {folder}: {why}", advice="set TMPDIR to a folder on a larger disk and run again")
