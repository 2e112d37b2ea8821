"""How much this process has read and written so far, and how many requests it has made to stores."""

from __future__ import annotations

import io
import threading
from typing import Any, NamedTuple

__all__ = ["CountedFile", "Traffic", "count_traffic", "traffic"]


class Traffic(NamedTuple):
    """Totals since the process began.

    Attributes:
        read: bytes of files and objects that were read. What a memory map reads, and parquet files and indices of a
            local disk, are not in it: the kernel alone knows.
        written: bytes of files and objects that were written to their end.
        requests: calls to stores, each attempt for itself. A listing of many pages, or an upload in many parts, is one.
    """

    read: int = 0
    written: int = 0
    requests: int = 0


_lock = threading.Lock()
_so_far = Traffic()


def count_traffic(read: int = 0, written: int = 0, requests: int = 0) -> None:
    """Add to the totals; from any thread."""
    global _so_far
    with _lock:
        _so_far = Traffic(_so_far.read + read, _so_far.written + written, _so_far.requests + requests)


def traffic() -> Traffic:
    """The totals now."""
    return _so_far


class CountedFile(io.FileIO):
    """A local file whose reads are counted."""

    def readinto(self, buffer: Any) -> int | None:
        """As `FileIO.readinto`."""
        count = super().readinto(buffer)
        count_traffic(read=count or 0)
        return count

    def readall(self) -> bytes:
        """As `FileIO.readall`."""
        data = super().readall()
        count_traffic(read=len(data or b""))
        return data
