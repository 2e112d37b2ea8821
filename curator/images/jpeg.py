"""What a JPEG costs to decode, from its bytes."""

from __future__ import annotations

import re

__all__ = ["count_scans"]

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# In a scan's data 0xFF is followed by 0, or by the number of a restart mark.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def count_scans(data: bytes, enough: int) -> int:
    """The scans of a JPEG. A progressive one may have any number of them, and each goes over all of its pixels.

    Args:
        data: the bytes of the file; damaged ones are counted up to the damage.
        enough: a number up to which the answer need not be exact.

    Returns:
        the number of scans; where that is at most `enough`, perhaps more than there are, but not more than `enough`.
    """
    # Nearly always this is all: one search for two bytes.
    if (most := data.count(b"\xff\xda")) <= enough:
        return most
    scans, position = 0, 2
    while marker := _NEXT_MARKER.search(data, position):
        kind, position = data[marker.start() + 1], marker.end()
        if kind == _END_OF_IMAGE:
            break
        if kind == _START_OF_SCAN:
            scans += 1
        if kind != 0x01 and kind != 0xD8:
            position += max(int.from_bytes(data[position : position + 2], "big"), 2)
    return scans
