"""The bytes of a USTAR archive around its members' data (POSIX.1-1988; GNU tar manual, "Basic Tar Format").

Written here rather than by tarfile, so that the position of every member is known before its data is, and the
same members give the same bytes on every Python.
"""

from __future__ import annotations

__all__ = ["BLOCK", "SIZE", "archive_size", "header", "padded", "size_field", "stated_size"]

BLOCK = 512
RECORD = 20 * BLOCK
NAME_BYTES = 100
# The largest size of 11 octal digits. Larger ones are written in base 256, as GNU tar does.
MAX_OCTAL = 8**11 - 1
SIZE = slice(124, 136)
OWNER = b"0000644\0" + 2 * b"0000000\0"  # mode, uid, gid
TIME = b"00000000000\0"
KIND = b"0".ljust(101, b"\0") + b"ustar\x0000"  # a file, no link name
# The checksum is the sum of all bytes, and counts itself as eight spaces.
FIXED = sum(OWNER + TIME + KIND + b" " * 8)


def header(name: str, size: int) -> bytes:
    """The 512-byte header of a regular file: mode 0644, uid, gid and mtime 0, no user or group name.

    Args:
        name: the name of the member, at most 100 bytes as UTF-8.
        size: the bytes of data that follow.

    Raises:
        ValueError: the name is empty or does not fit.

    >>> len(header("cat.jpg", 3))
    512
    """
    raw = name.encode()
    if not 0 < len(raw) <= NAME_BYTES or b"\0" in raw:
        raise ValueError(f"no USTAR name: {name!r}")
    number = size_field(size)
    checksum = FIXED + sum(raw) + sum(number)
    block = b"".join([raw.ljust(NAME_BYTES, b"\0"), OWNER, number, TIME, b"%06o\0 " % checksum, KIND])
    return block.ljust(BLOCK, b"\0")


def size_field(size: int) -> bytes:
    """The field of a header that says how many bytes of data follow, as most programs write it."""
    if size <= MAX_OCTAL:
        return b"%011o\0" % size
    return b"\x80" + size.to_bytes(11, "big")


def padded(size: int) -> int:
    """The bytes that the data of a member takes up, in whole blocks."""
    return -(-size // BLOCK) * BLOCK


def archive_size(end: int) -> int:
    """The bytes of an archive whose last member ends, padded, at byte `end`.

    Two blocks of zeros mark the end; whole records of 10,240 bytes are the custom, tarfile's included.
    """
    return -(-(end + 2 * BLOCK) // RECORD) * RECORD


def stated_size(block: bytes) -> int | None:
    """The data size that any tar header block states; None if it states none. A blank field states 0, as to readers."""
    if not block.strip(b"\0"):
        # The mark at the end of an archive.
        return None
    field = block[SIZE]
    if len(field) == 12 and field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None
