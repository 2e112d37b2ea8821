"""The names of an output shard's members: `{part:08d}_{key}.{extension}`.

Members lie in the root of the tar, so a whole name must fit USTAR's name field of 100 bytes. The prefix field
beside it can only hold what comes before a slash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

__all__ = ["Namer", "extensions"]

MAX_NAME = 100
MAX_KEY = 80
MAX_EXTENSION = 64
# A last dotted part of at most so many bytes, its dot included, is kept: it says which member is the image.
MAX_KIND = 16
OTHER = re.compile(r"[^A-Za-z0-9_-]")


class Namer:
    """Gives the samples of one output shard their names, no two alike.

    A key's characters outside `[A-Za-z0-9_-]` become `-`, and it is cut at 80 characters, or shorter where
    the name with the sample's longest extension would exceed 100 bytes (a changed key beside `.jpg`: 78). If
    anything changed, `-` and 8 hex digits of sha256(key) follow. Where that name is taken already, because a
    key looks just like another's changed form, the hash is added also, then again with a counter.

    >>> namer = Namer()
    >>> namer.name(3, "cat", ["jpg"]), namer.name(3, "a/b c", ["jpg"])
    ('00000003_cat', '00000003_a-b-c-0af99a60')
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, part: int, key: str, exts: Sequence[str]) -> str:
        """The name of the next sample, up to its first dot.

        The same samples in the same order get the same names.

        Args:
            part: the part of the sample.
            key: the key of the sample.
            exts: the new extensions of its members, from `extensions`.
        """
        room = MAX_NAME - 1 - max((len(ext.encode()) for ext in exts), default=0)
        attempt = 0
        while (name := _name(part, key, room, attempt)) in self._taken:
            attempt += 1
        self._taken.add(name)
        return name


def extensions(exts: Sequence[str]) -> list[str]:
    """The extensions that the members of a sample get, in the order given.

    Extensions are kept, with these exceptions. One longer than 64 UTF-8 bytes is cut to 64, of which the last are
    `-`, 8 hex digits of its sha256, and its last dotted part (`.jpg`), which tells what the member is. One
    that equals an earlier one, in any case, or begins with webdataset's own `__` gets a number in front:
    readers that lower-case extensions refuse twins, and `x.__bad__` makes a sample vanish.

    Args:
        exts: everything after the first dot of each member's name, in tar order.

    >>> extensions(["jpg", "JPG", "jpg", "json"])
    ['jpg', '2.JPG', '3.jpg', 'json']
    """
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    names = []
    for ext in map(_cut_extension, exts):
        name, lower = ext, ext.lower()
        while name.lower() in taken or name.startswith("__"):
            number = numbers.get(lower, 2)
            numbers[lower] = number + 1
            name = f"{number}.{ext}"
        taken.add(name.lower())
        names.append(name)
    return names


def _name(part: int, key: str, room: int, attempt: int) -> str:
    start = f"{part:08d}_"
    clean = OTHER.sub("-", key)
    if clean == key and len(key) <= min(MAX_KEY, room - len(start)) and not attempt:
        return start + key
    salted = key if attempt < 2 else f"{key}\0{attempt}"
    # Attempt 1 of a changed key would repeat attempt 0; the caller's loop then goes on to 2.
    tail = "-" + _hash(salted)
    return start + clean[: min(MAX_KEY, room - len(start) - len(tail))] + tail


def _cut_extension(ext: str) -> str:
    # NUL ends the name field.
    whole = ext.replace("\0", "-")
    if whole == ext and len(ext.encode()) <= MAX_EXTENSION:
        return ext
    head, dot, last = whole.rpartition(".")
    kind = dot + last
    if not dot or len(kind.encode()) > MAX_KIND:
        head, kind = whole, ""
    tail = "-" + _hash(ext) + kind
    return head.encode()[: MAX_EXTENSION - len(tail.encode())].decode(errors="ignore") + tail


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
