"""Our own streaming tar reader.

Python's tarfile stops without a word at a damaged header in the middle of an archive. This reader says
where, how much it could not read, and goes on at the next sound header. It reads USTAR, GNU and PAX
archives (POSIX.1-2001 pax interchange format; GNU tar manual, "Basic Tar Format") from front to back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from curator.errors import Reason
from curator.types import LedgerLine, Member, RawSample

__all__ = ["begins_like_tar", "read_samples"]

BLOCK = 512
ZEROS = bytes(BLOCK)
CHUNK = 1 << 20
# A header that describes the next one. Larger ones exist only in damaged or hostile archives.
MAX_HEADER_DATA = 1 << 20
# The most bytes of one sample that are held in memory.
MAX_SAMPLE_BYTES = 1 << 28
MAX_SAMPLE_MEMBERS = 1 << 16

REGULAR = b"0\x007"
LONG_NAME, PAX, SPARSE = b"L", b"x", b"S"
HEADERS_WITH_DATA = b"LKxgX"
WITHOUT_DATA = b"123456"


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    header: int
    offset: int
    size: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class _Damage:
    reason: Reason
    offset: int
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    size: int
    kind: bytes


def read_samples(
    stream: BinaryIO, shard: str, *, keep: Callable[[Member], bool] = lambda member: True
) -> Iterator[RawSample | LedgerLine]:
    """The samples of a tar, in order, and a ledger line in place of each that is damaged.

    Memory is bounded by the largest sample kept (at most `MAX_SAMPLE_BYTES`, and one member of that size more) and the
    keys of the shard.

    Args:
        stream: the tar; needs `read`, and is sought forward where it can be.
        shard: its name, for samples and lines.
        keep: which members' bytes to keep; the others are skipped, their places recorded.

    Yields:
        A `RawSample` with at least one image, or a `LedgerLine` with reason `no_image`, `duplicate_key`,
        `too_large`, `truncated` or `bad_header`. Dotfiles, names without a dot, directories and links
        are no samples.

    >>> import io, tarfile
    >>> buffer = io.BytesIO()
    >>> with tarfile.open(fileobj=buffer, mode="w") as tar:
    ...     info = tarfile.TarInfo("cat.jpg")
    ...     info.size = 3
    ...     tar.addfile(info, io.BytesIO(b"abc"))
    >>> [sample.key for sample in read_samples(io.BytesIO(buffer.getvalue()), "x.tar")]
    ['cat']
    """
    grouper = _Grouper(shard)
    for entry in _Tar(stream, keep).entries():
        yield from grouper.add(entry)
    yield from grouper.finish()


def begins_like_tar(head: bytes) -> bool:
    """True if a file that begins with these 512 bytes can be a tar: a sound header, or an end mark."""
    return len(head) >= BLOCK and (head[:BLOCK] == ZEROS or _parse(head[:BLOCK]) is not None)


def split_name(name: str) -> tuple[str, str] | None:
    """Key and extension of a member's path; None if it is not part of a sample.

    >>> split_name("a.b/cat.seg.PNG")
    ('a.b/cat', 'seg.PNG')
    >>> split_name("a/.cat.png") is None
    True
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, ext = base.partition(".")
    if not (stem and dot and ext):
        return None
    return folder + slash + stem, ext


class _Grouper:
    """Adjacent members with one key become a sample; damage becomes a line at the sample it hit."""

    def __init__(self, shard: str) -> None:
        self.shard = shard
        self.seen: set[str] = set()
        self.key: str | None = None
        self.offset = 0
        self.members: list[Member] = []
        self.held = 0  # bytes of the open sample's members
        self.excess = ""  # why it is too large
        self.damage: _Damage | None = None  # of the open sample
        self.nameless: _Damage | None = None  # damage whose sample is not known yet

    def add(self, entry: _File | _Damage) -> Iterator[RawSample | LedgerLine]:
        split = split_name(entry.name)
        if isinstance(entry, _Damage):
            if split is None:
                yield from self._close()
                yield from self._flush_nameless()
                self.nameless = entry
                return
            yield from self._open(split[0], entry.offset)
            self.damage = self.damage or entry
        elif split is not None:
            yield from self._open(split[0], entry.header)
            self._hold(Member(split[1], entry.offset, entry.size, entry.data))

    def _hold(self, member: Member) -> None:
        self.members.append(member)
        self.held += len(member.data or b"")
        if self.held > MAX_SAMPLE_BYTES:
            self.excess = f"more than {MAX_SAMPLE_BYTES >> 20} MiB in one sample"
        elif len(self.members) > MAX_SAMPLE_MEMBERS:
            self.excess = f"more than {MAX_SAMPLE_MEMBERS:,} members in one sample"
        if self.excess:
            # At once, since a damaged or hostile shard may go on like this to its end.
            self.members.clear()

    def finish(self) -> Iterator[RawSample | LedgerLine]:
        yield from self._close()
        yield from self._flush_nameless()

    def _open(self, key: str, offset: int) -> Iterator[RawSample | LedgerLine]:
        if key != self.key:
            yield from self._close()
            self.key, self.offset = key, offset

    def _close(self) -> Iterator[RawSample | LedgerLine]:
        if self.key is None:
            return
        sample = RawSample(self.shard, self.key, self.offset, tuple(self.members))
        damage, self.damage = self.damage, None
        excess, self.excess = self.excess, ""
        self.key, self.members, self.held = None, [], 0
        if excess and damage is None:
            damage = _Damage(Reason.TOO_LARGE, sample.offset, "", excess)
        if damage is None and sample.image is None and self.nameless is not None:
            # What is left of the sample whose image the damage swallowed: one sample, one line.
            damage, self.nameless = self.nameless, None
        yield from self._flush_nameless()
        yield self._judge(sample, damage)
        self.seen.add(sample.key)

    def _judge(self, sample: RawSample, damage: _Damage | None) -> RawSample | LedgerLine:
        if damage is not None:
            return self._line(sample.key, damage.offset, damage.reason, damage.detail)
        if sample.key in self.seen:
            return self._line(
                sample.key,
                sample.offset,
                Reason.DUPLICATE_KEY,
                f"{len(sample.members)} members after the sample of this key had ended; the first is used",
            )
        if sample.image is None:
            extensions = ", ".join(member.ext for member in sample.members[:5])
            return self._line(sample.key, sample.offset, Reason.NO_IMAGE, f"members: {extensions}")
        if sample.image.size > MAX_SAMPLE_BYTES:
            detail = f"an image of more than {MAX_SAMPLE_BYTES >> 20} MiB"
            return self._line(sample.key, sample.offset, Reason.TOO_LARGE, detail)
        return sample

    def _flush_nameless(self) -> Iterator[LedgerLine]:
        if self.nameless is not None:
            damage, self.nameless = self.nameless, None
            yield self._line("", damage.offset, damage.reason, damage.detail)

    def _line(self, key: str, offset: int, reason: Reason, detail: str) -> LedgerLine:
        return LedgerLine(self.shard, key, offset, "read", reason, detail)


class _Tar:
    """The regular files of a tar stream, and its damages."""

    def __init__(self, stream: BinaryIO, keep: Callable[[Member], bool]) -> None:
        self.stream = stream
        self.keep = keep
        self.position = 0

    def entries(self) -> Iterator[_File | _Damage]:
        name: str | None = None  # from a GNU or PAX header, for the next member
        size: int | None = None
        ended = False
        while True:
            start = self.position
            block = self._read(BLOCK)
            if len(block) < BLOCK:
                if block or not ended:
                    yield self._broken_off(start, name or "", len(block))
                return
            if block == ZEROS:
                ended = True
                continue
            header = _parse(block)
            if header is None:
                yield self._resynchronise(start, block)
                if not self.pushed:
                    return  # no sound header up to the end
                name = size = None
                ended = False
                continue
            ended = False
            if header.kind in HEADERS_WITH_DATA:
                data = self._header_data(header.size)
                if data is None:
                    yield _Damage(Reason.TRUNCATED, start, "", f"a header of {header.size} bytes is not whole")
                elif header.kind == LONG_NAME:
                    name = _text(data.partition(b"\0")[0])
                elif header.kind == PAX:
                    records = _pax_records(data)
                    name = _text(records[b"path"]) if b"path" in records else name
                    size = int(records[b"size"]) if records.get(b"size", b"").isdigit() else size
                continue
            entry = self._entry(start, header, name, size)
            name = size = None
            if entry is not None:
                yield entry
            if isinstance(entry, _Damage) and entry.reason is Reason.TRUNCATED:
                return

    def _entry(self, start: int, header: _Header, name: str | None, size: int | None) -> _File | _Damage | None:
        name = header.name if name is None else name
        size = header.size if size is None else size
        if header.kind in WITHOUT_DATA:
            return None
        if header.kind == SPARSE:
            self._skip(_padded(size))
            return _Damage(Reason.BAD_HEADER, start, name, "sparse members are not supported")
        regular = header.kind in REGULAR and not name.endswith("/")
        split = split_name(name) if regular else None
        offset = self.position
        is_kept = split is not None and size <= MAX_SAMPLE_BYTES and self.keep(Member(split[1], offset, size))
        data = self._read(size) if is_kept else None
        got = len(data) if data is not None else self._skip(size)
        if got < size:
            detail = f"the shard ends {got} bytes into a member of {size} bytes"
            return _Damage(Reason.TRUNCATED, start, name, detail)
        self._skip(_padded(size) - size)
        return _File(name, start, offset, size, data) if split else None

    def _broken_off(self, start: int, name: str, rest: int) -> _Damage:
        if start == 0 and not rest:
            detail = "the file is empty: not a tar"
        elif rest:
            detail = f"the shard ends inside a header; {rest} bytes not read"
        else:
            detail = "no end-of-archive mark: the shard may have been cut between two members"
        return _Damage(Reason.TRUNCATED, start, name, detail)

    def _resynchronise(self, start: int, block: bytes) -> _Damage:
        """Skip what follows a bad header up to the next sound one, and leave the stream there."""
        field, _, padding = block[:100].partition(b"\0")
        # A field that is not ended and filled with zeros is no name but whatever bytes stand here.
        name = _text(field) if padding and not padding.strip(b"\0") else ""
        name = name if name.isprintable() and split_name(name) else ""
        passed = BLOCK
        while True:
            block = self._read(BLOCK)
            if len(block) < BLOCK:
                passed += len(block)
                break
            if _parse(block) is not None:
                self._push_back(block)
                break
            passed += BLOCK
        detail = f"bad tar header; {passed} bytes not read"
        return _Damage(Reason.BAD_HEADER, start, name, detail)

    def _header_data(self, size: int) -> bytes | None:
        if size > MAX_HEADER_DATA:
            self._skip(_padded(size))
            return None
        data = self._read(_padded(size))
        return data[:size] if len(data) == _padded(size) else None

    pushed = b""

    def _push_back(self, block: bytes) -> None:
        self.pushed = block
        self.position -= len(block)

    def _read(self, size: int) -> bytes:
        head, self.pushed = self.pushed[:size], self.pushed[size:]
        data = head + self.stream.read(size - len(head)) if size > len(head) else head
        while len(data) < size and (more := self.stream.read(size - len(data))):
            data += more
        self.position += len(data)
        return data

    def _skip(self, size: int) -> int:
        """Skip bytes; returns how many there were (only reading tells: a seek goes past any end)."""
        left = size
        while left:
            got = len(self._read(min(left, CHUNK)))
            if not got:
                break
            left -= got
        return size - left


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _text(raw: bytes) -> str:
    # A backslash escape keeps a name that is not UTF-8 distinct, readable and storable.
    return raw.decode("utf-8", "backslashreplace")


def _number(field: bytes) -> int | None:
    """A tar header number: octal text, or base-256 where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    # int() alone would take signs and underscores, too.
    return None if text.strip(b"01234567") else int(text or b"0", 8)


def _parse(block: bytes) -> _Header | None:
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
    raw = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        raw = block[345:500].partition(b"\0")[0] + b"/" + raw
    return _Header(_text(raw), size, block[156:157])


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """The `length key=value` records of a PAX header; what is malformed ends the list."""
    records: dict[bytes, bytes] = {}
    while data:
        length, space, rest = data.partition(b" ")
        if not (space and length.isdigit()) or int(length) <= len(length) + 1:
            break
        record = rest[: int(length) - len(length) - 2]
        key, equals, value = record.partition(b"=")
        if not equals:
            break
        records[key] = value
        data = data[int(length) :]
    return records
