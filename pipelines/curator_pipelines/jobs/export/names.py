"""Names of files that every file system takes, whatever the keys of samples are."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["file_name", "folder_of"]

# Bytes; with place and ending well below the 255 that file systems have.
LONGEST = 120


def file_name(place: int, key: str) -> str:
    """The name of a sample's files, without an ending: its place, then what its key may keep.

    The place comes first: so names sort in the order of choice, and no two are the same whatever the keys are.

    >>> file_name(7, "../../etc/passwd"), file_name(12, "birds/0001")
    ('000007-etc-passwd', '000012-birds-0001')
    """
    plain = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", key)).strip("-.")
    short = plain.encode()[:LONGEST].decode(errors="ignore")
    return f"{place:06d}-{short}".rstrip("-.")


def folder_of(centroid: int) -> str:
    """The folder of a centroid's samples; empty where there are no centroids."""
    return f"centroid-{centroid:05d}" if centroid >= 0 else ""
