"""The members of a tar stream, from front to back, and its damages.

Python's tarfile stops without a word at a damaged header in the middle of an archive. This reader says
where, how much it could not read, and goes on at the next sound header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from curator.errors import Reason
from curator.sources.remarks import Remark
from curator.sources.tar_headers import (
    BLOCK,
    ZEROS,
    Header,
    begins_like_pax_records,
    decode_name,
    is_sparse,
    may_be_shortened,
    name_in,
    names_next,
    padded,
    parse_header,
    pax_records,
    pax_size,
    plain_name,
    split_name,
)
from curator.types import Member

__all__ = ["MAX_SAMPLE_BYTES", "Absent", "Damage", "File", "TarMembers"]

CHUNK = 1 << 20
# A header that describes the next one. Larger ones exist only in damaged or hostile archives.
MAX_HEADER_DATA = 1 << 20
# The most bytes of one sample that are held in memory.
MAX_SAMPLE_BYTES = 1 << 28
# Members that hard links can lead to: of a shard with more, those behind are not remembered.
MAX_LINK_TARGETS = 1 << 20

REGULAR = b"0\x007"
LONG_NAME, LONG_LINK, PAX, SPARSE = b"L", b"K", b"xX", b"S"
HEADERS_WITH_DATA = b"LKxgX"
HARD_LINK, SYMBOLIC_LINK = b"1", b"2"
WITHOUT_DATA = b"123456"


@dataclass(frozen=True, slots=True)
class File:
    """A regular file.

    Attributes:
        name: its path.
        header: byte position of its header.
        offset: byte position of its data. Those of a hard link are an earlier member's.
        size: bytes of data.
        data: the bytes; None where they were not to be kept.
        sha256: hex digest of the archive from the header of the first member of this key, among those that stand
            together, to the end of this one's data; None for a link, and where it was not asked for.
    """

    name: str
    header: int
    offset: int
    size: int
    data: bytes | None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """A member without bytes that could be read as they stand.

    Attributes:
        name: its path.
        header: byte position of its header.
        remark: what it is.
        detail: what it is, in words.
    """

    name: str
    header: int
    remark: Remark
    detail: str


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that could not be read, or not understood.

    Attributes:
        reason: the ledger's reason.
        offset: byte position where it begins.
        name: the path of the member that it hit; empty where that is not known.
        detail: one line for a person.
    """

    reason: Reason
    offset: int
    name: str
    detail: str


@dataclass(slots=True)
class _Ahead:
    """What GNU and PAX headers say of the next member.

    Attributes:
        name: its path, where its own header has no room for it.
        size: its bytes of data.
        link: the target of a link.
        sparse: whether it is stored without its holes.
        is_lost: whether such a header was damaged. The next member may then have a wrong name and size of its own:
            both formats leave only what fits in its header.
    """

    name: str | None = None
    size: int | None = None
    link: str | None = None
    sparse: bool = False
    is_lost: bool = False


class TarMembers:
    """The regular files of a tar stream, and its damages.

    Args:
        stream: the tar; needs `read`. It is sought only where an image is a hard link and `reread` is None.
        keep: which members' bytes to keep.
        reread: gives bytes [start, end) of the archive, for hard links.
        hashed: whether `File.sha256` is wanted. It costs about a second for a gigabyte.
    """

    def __init__(
        self,
        stream: BinaryIO,
        keep: Callable[[Member], bool],
        reread: Callable[[int, int], bytes] | None = None,
        hashed: bool = False,
    ) -> None:
        self.stream = stream
        self.keep = keep
        self.position = 0
        self._hashed = hashed
        self._key: str | None = None  # of the members that stand together here
        self._digest = hashlib.sha256()  # of the archive since the first of them began
        self._reread = reread or self._seek_and_read
        self._places: dict[str, tuple[int, int]] = {}  # of the files so far, for hard links

    def entries(self) -> Iterator[File | Absent | Damage]:
        """Every file, every link and sparse member, and every damage, in the order of the archive."""
        ahead = _Ahead()
        ended = False
        while True:
            start = self.position
            block = self._read(BLOCK)
            if len(block) < BLOCK:
                if block or not ended:
                    yield self._broken_off(start, ahead.name or "", len(block))
                return
            if block == ZEROS:
                ended = True
                continue
            ended = False
            header = parse_header(block)
            if header is None:
                self._key = None
                damage, is_lost = self._resynchronise(start, block)
                yield damage
                if not self.pushed:
                    return  # no sound header up to the end
                ahead = _Ahead(is_lost=is_lost)
                continue
            if header.kind in HEADERS_WITH_DATA:
                if told := self._look_ahead(start, header, ahead):
                    ahead.is_lost = names_next(block)
                    yield told
                continue
            self._begin_digest(header, ahead, block)
            entry = self._entry(start, header, ahead)
            is_told = ahead.is_lost and not isinstance(entry, Damage)
            ahead = _Ahead()
            if entry is not None and not is_told:
                yield entry
            if isinstance(entry, Damage) and entry.reason is Reason.TRUNCATED:
                return

    def _begin_digest(self, header: Header, ahead: _Ahead, block: bytes) -> None:
        """Begin anew where a member of another key begins, with its header."""
        if not self._hashed or header.kind not in REGULAR + SPARSE + HARD_LINK + SYMBOLIC_LINK:
            return
        split = split_name(header.name if ahead.name is None else ahead.name)
        if split is not None and split[0] != self._key:
            self._key, self._digest = split[0], hashlib.sha256(block)

    def _look_ahead(self, start: int, header: Header, ahead: _Ahead) -> Damage | None:
        """Read a header that describes the next one; returns what is wrong with it."""
        data = self._header_data(header.size)
        if data is None:
            return Damage(Reason.TRUNCATED, start, "", f"a header of {header.size} bytes is not whole")
        if header.kind == LONG_NAME:
            ahead.name = decode_name(data.partition(b"\0")[0])
        elif header.kind == LONG_LINK:
            ahead.link = decode_name(data.partition(b"\0")[0])
        elif header.kind in PAX:
            try:
                records = pax_records(data)
                ahead.size = pax_size(records)
            except ValueError as error:
                return Damage(Reason.BAD_HEADER, start, "", f"{error}; the member is not read")
            path = records.get(b"GNU.sparse.name", records.get(b"path"))
            ahead.name = ahead.name if path is None else decode_name(path)
            ahead.link = decode_name(records[b"linkpath"]) if b"linkpath" in records else ahead.link
            ahead.sparse = is_sparse(records)
        return None

    def _entry(self, start: int, header: Header, ahead: _Ahead) -> File | Absent | Damage | None:
        name = header.name if ahead.name is None else ahead.name
        size = header.size if ahead.size is None else ahead.size
        if header.kind in WITHOUT_DATA:
            return self._link(start, name, header, ahead)
        if header.kind == SPARSE:
            self._skip_map(header)
        split = split_name(name) if header.kind in REGULAR + SPARSE and not name.endswith("/") else None
        is_whole = header.kind != SPARSE and not ahead.sparse
        offset = self.position
        is_kept = split is not None and is_whole and self._is_kept(Member(split[1], offset, size))
        data = self._read(size) if is_kept else None
        got = len(data) if data is not None else self._skip(size)
        sha256 = self._digest.copy().hexdigest() if self._hashed and split is not None else None
        if got < size:
            detail = f"the shard ends {got} bytes into a member of {size} bytes"
            return Damage(Reason.TRUNCATED, start, name, detail)
        self._skip(padded(size) - size)
        if not is_whole:
            detail = "sparse, stored without its holes (tar --sparse), and is not read: pack it again without that"
            return Absent(name, start, Remark.SPARSE, detail) if split else None
        if header.kind in REGULAR and len(self._places) < MAX_LINK_TARGETS:
            self._places[plain_name(name)] = offset, size
        return File(name, start, offset, size, data, sha256) if split else None

    def _link(self, start: int, name: str, header: Header, ahead: _Ahead) -> File | Absent | None:
        split = split_name(name)
        if header.kind not in HARD_LINK + SYMBOLIC_LINK or split is None:
            return None
        target = header.link if ahead.link is None else ahead.link
        if header.kind == SYMBOLIC_LINK:
            return Absent(name, start, Remark.LINKS, f"a symbolic link to {target}, and a tar holds no bytes of it")
        place = self._places.get(plain_name(target))
        if place is None:
            return Absent(name, start, Remark.LINKS, f"a hard link to {target}, which is no earlier member of the tar")
        self._places[plain_name(name)] = place
        offset, size = place
        data = None
        if self._is_kept(Member(split[1], offset, size)):
            try:
                data = self._reread(offset, offset + size)
            except (ValueError, NotImplementedError):
                detail = f"a hard link to {target}, and its server gives no ranges of a file: copy the shard first"
                return Absent(name, start, Remark.LINKS, detail)
        return File(name, start, offset, size, data)

    def _is_kept(self, member: Member) -> bool:
        return member.size <= MAX_SAMPLE_BYTES and self.keep(member)

    def _skip_map(self, header: Header) -> None:
        """Skip the blocks in which an old GNU sparse header goes on; its size does not count them."""
        extended = header.is_extended
        while extended:
            block = self._read(BLOCK)
            extended = len(block) == BLOCK and block[504] != 0

    def _broken_off(self, start: int, name: str, rest: int) -> Damage:
        if start == 0 and not rest:
            detail = "the file is empty: not a tar"
        elif rest:
            detail = f"the shard ends inside a header; {rest} bytes not read"
        else:
            detail = "no end-of-archive mark: the shard may have been cut between two members"
        return Damage(Reason.TRUNCATED, start, name, detail)

    def _resynchronise(self, start: int, bad: bytes) -> tuple[Damage, bool]:
        """Skip what follows a bad header up to the next sound one, and leave the stream there.

        Returns:
            The damage, and whether it took what a header said of the next member.
        """
        passed, behind = BLOCK, b""
        while True:
            block = self._read(BLOCK)
            if parse_header(block) is not None:
                self._push_back(block)
                break
            passed += len(block)
            if len(block) < BLOCK:
                break
            behind = behind or block
        described = names_next(bad) or begins_like_pax_records(behind)
        is_lost = bool(self.pushed) and (described or may_be_shortened(block))
        name = "" if described else _name_in_damaged(bad)
        member = " and the member behind them" if is_lost else ""
        return Damage(Reason.BAD_HEADER, start, name, f"bad tar header; {passed} bytes{member} not read"), is_lost

    def _header_data(self, size: int) -> bytes | None:
        if size > MAX_HEADER_DATA:
            self._skip(padded(size))
            return None
        data = self._read(padded(size))
        return data[:size] if len(data) == padded(size) else None

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
        if self._hashed:
            self._digest.update(data)
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

    def _seek_and_read(self, start: int, end: int) -> bytes:
        here = self.stream.tell()
        self.stream.seek(start + here - self.position - len(self.pushed))
        try:
            return self.stream.read(end - start)
        finally:
            self.stream.seek(here)


def _name_in_damaged(block: bytes) -> str:
    """The path of a sample's member that a bad header has; empty where nothing there looks like one."""
    _, _, padding = block[:100].partition(b"\0")
    # A field that is not ended and filled with zeros is no name but whatever bytes stand here.
    name = name_in(block) if padding and not padding.strip(b"\0") else ""
    return name if name.isprintable() and split_name(name) else ""
