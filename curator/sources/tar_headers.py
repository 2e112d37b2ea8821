"""The headers of tar archives: USTAR, GNU and PAX.

Sources: POSIX.1-2001 pax interchange format; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "BLOCK",
    "Header",
    "begins_like_pax_records",
    "begins_like_tar",
    "decode_name",
    "is_sparse",
    "may_be_shortened",
    "name_in",
    "names_next",
    "padded",
    "parse_header",
    "pax_records",
    "pax_size",
    "plain_name",
    "split_name",
]

BLOCK = 512
ZEROS = bytes(BLOCK)
# A file of 10 EB, and the records of a header of 1 MiB, need fewer digits. Python refuses to read thousands of them.
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Header:
    """A header block.

    Attributes:
        name: as it stands there.
        size: bytes of data that follow.
        kind: the type flag.
        link: the target of a link.
        is_extended: whether the map of a sparse member goes on in the next block (old GNU format).
    """

    name: str
    size: int
    kind: bytes
    link: str
    is_extended: bool


def begins_like_tar(head: bytes) -> bool:
    """True if a file that begins with these 512 bytes can be a tar: a sound header, or an end mark."""
    return len(head) >= BLOCK and (head[:BLOCK] == ZEROS or parse_header(head[:BLOCK]) is not None)


def plain_name(name: str) -> str:
    """A member's path without what does not count.

    >>> plain_name("././/a/b.jpg")
    'a/b.jpg'
    """
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def split_name(name: str) -> tuple[str, str] | None:
    """Key and extension of a member's path; None if it is not part of a sample.

    >>> split_name("./a.b/cat.seg.PNG")
    ('a.b/cat', 'seg.PNG')
    >>> split_name("a/.cat.png") is None
    True
    """
    folder, slash, base = plain_name(name).rpartition("/")
    stem, dot, ext = base.partition(".")
    if not (stem and dot and ext):
        return None
    return folder + slash + stem, ext


def padded(size: int) -> int:
    """A size up to the next whole block."""
    return -(-size // BLOCK) * BLOCK


def decode_name(raw: bytes) -> str:
    """A name as text. A backslash escape keeps one that is not UTF-8 distinct, readable and storable."""
    return raw.decode("utf-8", "backslashreplace")


def parse_header(block: bytes) -> Header | None:
    """A header block, or None if its checksum or size does not hold."""
    field = block[148:156]
    if not field.strip(b" \0"):
        return None  # an empty sum would read as 0, and signed bytes of anything can add up to that
    stated = _number(field)
    unsigned = sum(block) - sum(field) + 8 * 32
    if stated != unsigned and stated != unsigned - 256 * sum(
        byte > 127 for byte in block[:148] + block[156:]
    ):  # some old tars summed signed bytes
        return None
    size = _number(block[124:136])
    if size is None:
        return None
    link = decode_name(block[157:257].partition(b"\0")[0])
    return Header(name_in(block), size, block[156:157], link, block[482] != 0)


def name_in(block: bytes) -> str:
    """The path that a header has, sound or damaged."""
    raw = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        raw = block[345:500].partition(b"\0")[0] + b"/" + raw
    return decode_name(raw)


def names_next(block: bytes) -> bool:
    """True if a header, sound or damaged, is one that describes the next: its name, among others."""
    return block[257:262] == b"ustar" and block[156:157] in b"LKxX"


def begins_like_pax_records(data: bytes) -> bool:
    """True if these bytes are what a PAX header says of the next member, however damaged the header itself is.

    >>> begins_like_pax_records(b"17 path=cat.jpg\\n" + bytes(495))
    True
    """
    return re.match(rb"[1-9]\d{0,18} [A-Za-z][\w.-]*=", data) is not None


def may_be_shortened(block: bytes) -> bool:
    """True if a sound header's name or link fills its field: the whole of it may be in a header that came before."""
    kind = block[156:157]
    return kind not in b"LKxgX" and (0 not in block[:100] or (kind in b"12" and 0 not in block[157:257]))


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """The `length key=value` records of a PAX header.

    Raises:
        ValueError: there is something else, so that the next member's name may be among what cannot be read.
    """
    records: dict[bytes, bytes] = {}
    data = data.rstrip(b"\0")  # padding that some writers count
    while data:
        length, _, rest = data.partition(b" ")
        digits = int(length) if length.isdigit() and len(length) <= _MAX_DIGITS else 0
        key, equals, value = rest[: digits - len(length) - 2].partition(b"=")
        if not equals or data[digits - 1 : digits] != b"\n":
            raise ValueError(f"a pax header holds {decode_name(data[:20])!r} where a record of the next member is due")
        records[key] = value
        data = data[digits:]
    return records


def pax_size(records: dict[bytes, bytes]) -> int | None:
    """The size that a PAX header gives to the next member; None if it gives none.

    Raises:
        ValueError: it gives one that is no number, or a number that no file has.
    """
    value = records.get(b"size")
    if value is None:
        return None
    if not value.isdigit() or len(value) > _MAX_DIGITS:
        shown = decode_name(value[:20]) + ("..." if len(value) > 20 else "")
        raise ValueError(f"a pax header gives {shown!r} as the size of the next member")
    return int(value)


def is_sparse(records: dict[bytes, bytes]) -> bool:
    """True if the next member is stored with holes: a map of them precedes, or stands in place of, its data."""
    return any(key.startswith(b"GNU.sparse.") for key in records)


def _number(field: bytes) -> int | None:
    """A tar header number: octal text, or base-256 where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    # int() alone would take signs and underscores, too.
    return None if text.strip(b"01234567") else int(text or b"0", 8)
