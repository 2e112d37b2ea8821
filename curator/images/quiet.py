"""Decoders of C libraries without what they print to stderr.

libpng, libjpeg and libtiff print a line for every image they dislike, without saying which one, and torchvision hands
their messages on to nobody. What matters of it goes to the ledger.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["quiet"]

_lock = threading.Lock()
_inside = 0
_before: int | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """C code that prints to `stderr` prints to nowhere while any thread is inside.

    The file descriptor stays as it is, so Python's own messages and those of a crash come through. With other C
    libraries than glibc, which keeps `stderr` in a variable, nothing changes.
    """
    streams = _streams()
    if streams is None:
        yield
        return
    _enter(*streams)
    try:
        yield
    finally:
        _leave(streams[0])


def _enter(stderr: ctypes.c_void_p, nowhere: int) -> None:
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before, stderr.value = stderr.value, nowhere
        _inside += 1


def _leave(stderr: ctypes.c_void_p) -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            stderr.value = _before


@cache
def _streams() -> tuple[ctypes.c_void_p, int] | None:
    """The variable `stderr` of glibc, and a stream that leads nowhere."""
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    nowhere = libc.fopen(b"/dev/null", b"w")
    return (ctypes.c_void_p.in_dll(libc, "stderr"), nowhere) if nowhere else None
