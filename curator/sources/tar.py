"""Our own streaming tar reader: the members of an archive, grouped into samples.

It reads USTAR, GNU and PAX archives from front to back. What the archive itself says is read in `tar_members`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO

from curator.errors import Reason
from curator.sources import tar_members
from curator.sources.remarks import Remark, Remarks
from curator.sources.tar_headers import BLOCK, padded, split_name
from curator.sources.tar_members import Absent, Damage, File, TarMembers
from curator.types import LedgerLine, Member, RawSample

__all__ = ["read_samples"]

MAX_SAMPLE_MEMBERS = 1 << 16
# Blocks before a member's data: its header, and a longer name or a PAX header with a block of its own.
HEADERS = 3


def read_samples(
    stream: BinaryIO,
    shard: str,
    *,
    keep: Callable[[Member], bool] = lambda member: True,
    remarks: Remarks | None = None,
    reread: Callable[[int, int], bytes] | None = None,
    hashed: bool = False,
) -> Iterator[RawSample | LedgerLine]:
    """The samples of a tar, in order, and a ledger line in place of each that is damaged.

    Memory is bounded by the largest sample kept (at most `MAX_SAMPLE_BYTES`, and one member of that size more), the
    keys of the shard, and the names of its first million members, to which hard links may lead.

    Args:
        stream: the tar; needs `read`, and `seek` where hard links are to be read without `reread`.
        shard: its name, for samples and lines.
        keep: which members' bytes to keep; the others are skipped, their places recorded.
        remarks: filled with what is no damage and should be known: links and sparse members that were left out, and
            images that lie several in one sample since their names hold dots.
        reread: gives bytes [start, end) of the archive, for images that are hard links to earlier members.
        hashed: whether `RawSample.sha256` is wanted.

    Yields:
        A `RawSample` with at least one image, or a `LedgerLine` with reason `no_image`, `duplicate_key`,
        `too_large`, `truncated` or `bad_header`. Dotfiles, names without a dot and directories are no samples. A hard
        link to an earlier member stands for its bytes; an image that is another link or sparse is `no_image`. A `./`
        before a name does not count.

    >>> import io, tarfile
    >>> buffer = io.BytesIO()
    >>> with tarfile.open(fileobj=buffer, mode="w") as tar:
    ...     info = tarfile.TarInfo("cat.jpg")
    ...     info.size = 3
    ...     tar.addfile(info, io.BytesIO(b"abc"))
    >>> [sample.key for sample in read_samples(io.BytesIO(buffer.getvalue()), "x.tar")]
    ['cat']
    """
    grouper = _Grouper(shard, Remarks() if remarks is None else remarks, hashed)
    for entry in TarMembers(stream, keep, reread, hashed).entries():
        yield from grouper.add(entry)
    yield from grouper.finish()


class _Grouper:
    """Adjacent members with one key become a sample; damage becomes a line at the sample it hit."""

    def __init__(self, shard: str, remarks: Remarks, hashed: bool) -> None:
        self.shard = shard
        self.remarks = remarks
        self.hashed = hashed
        self.seen: dict[str, bool] = {}  # whether an image stood among the members of each key
        self.key: str | None = None
        self.offset = 0
        self.members: list[Member] = []
        self.absent: list[tuple[int, Member, Absent]] = []  # how many members stand before each
        self.sha256: list[str | None] = []  # of the open sample, up to the end of each of its members
        self.held = 0  # bytes of the open sample's members
        self.excess = ""  # why it is too large
        self.damage: Damage | None = None  # of the open sample
        self.unplaced: Damage | None = None  # the last entry, if that was one
        self.nameless: Damage | None = None  # damage whose sample is not known yet

    def add(self, entry: File | Absent | Damage) -> Iterator[RawSample | LedgerLine]:
        split = split_name(entry.name)
        if isinstance(entry, Damage):
            yield from self._settle(None)
            self.unplaced = entry
        elif split is not None:
            yield from self._settle(split[0])
            yield from self._open(split[0], entry.header)
            if isinstance(entry, File):
                self.sha256.append(entry.sha256)
                self._hold(Member(split[1], entry.offset, entry.size, entry.data))
            else:
                self.absent.append((len(self.members), Member(split[1], entry.header, 0), entry))
                self._limit()

    def _hold(self, member: Member) -> None:
        self.members.append(member)
        self.held += len(member.data or b"")
        self._limit()

    def _limit(self) -> None:
        if self.held > tar_members.MAX_SAMPLE_BYTES:
            self.excess = f"more than {tar_members.MAX_SAMPLE_BYTES >> 20} MiB in one sample"
        elif len(self.members) + len(self.absent) > MAX_SAMPLE_MEMBERS:
            self.excess = f"more than {MAX_SAMPLE_MEMBERS:,} members in one sample"
        if self.excess:
            # At once, since a damaged or hostile shard may go on like this to its end.
            self.members.clear()
            self.absent.clear()
            self.sha256.clear()

    def _settle(self, key: str | None) -> Iterator[RawSample | LedgerLine]:
        """Say which sample the last damage hit. What stands in a bad header may be no name, or a wrong one.

        Args:
            key: of the member behind it; None at the end, and before another damage.
        """
        damage, self.unplaced = self.unplaced, None
        if damage is None:
            return
        if key is not None and key == self.key:
            self.damage = self.damage or damage
            return
        split = split_name(damage.name)
        if split is None:
            yield from self._close()
            yield from self._flush_nameless()
            self.nameless = damage
        else:
            yield from self._open(split[0], damage.offset)
            self.damage = self.damage or damage

    def finish(self) -> Iterator[RawSample | LedgerLine]:
        yield from self._settle(None)
        yield from self._close()
        yield from self._flush_nameless()

    def _open(self, key: str, offset: int) -> Iterator[RawSample | LedgerLine]:
        if key != self.key:
            yield from self._close()
            self.key, self.offset = key, offset

    def _close(self) -> Iterator[RawSample | LedgerLine]:
        if self.key is None:
            return
        sample = RawSample(self.shard, self.key, self.offset, tuple(self.members), self._sha256())
        absent = self.absent
        damage, self.damage = self.damage, None
        excess, self.excess = self.excess, ""
        self.key, self.members, self.absent, self.sha256, self.held = None, [], [], [], 0
        if excess and damage is None:
            damage = Damage(Reason.TOO_LARGE, sample.offset, "", excess)
        if damage is None:
            damage = _absent_image(sample, absent)
        if damage is None and sample.image is None and self.nameless is not None:
            # What is left of the sample whose image the damage swallowed: one sample, one line.
            damage, self.nameless = self.nameless, None
        yield from self._flush_nameless()
        for _, _, entry in absent if damage is None else ():
            self.remarks.add(entry.remark, f"{entry.name} of {self.shard} ({entry.detail})")
        if not sample.members and absent and damage is None:
            return  # links beside images of other samples
        yield self._judge(sample, damage)
        self.seen[sample.key] = self.seen.get(sample.key, False) or sample.image is not None or damage is not None

    def _judge(self, sample: RawSample, damage: Damage | None) -> RawSample | LedgerLine:
        if damage is not None:
            return self._line(sample.key, damage.offset, damage.reason, damage.detail)
        extensions = ", ".join(member.ext for member in sample.members[:5])
        if sample.key in self.seen:
            return self._line(sample.key, sample.offset, Reason.DUPLICATE_KEY, self._second_run(sample, extensions))
        if sample.image is None:
            return self._line(sample.key, sample.offset, Reason.NO_IMAGE, f"members: {extensions}")
        if sample.image.size > tar_members.MAX_SAMPLE_BYTES:
            detail = f"an image of more than {tar_members.MAX_SAMPLE_BYTES >> 20} MiB"
            return self._line(sample.key, sample.offset, Reason.TOO_LARGE, detail)
        self._remark_dots(sample)
        if self.hashed and sample.sha256 is None:
            self.remarks.add(Remark.UNHASHED, f"{sample.key} of {self.shard}")
        return sample

    def _sha256(self) -> str | None:
        """The hash of the open sample; None where to read its range again would be to read much that is not its own."""
        if self.absent or not all(self.sha256) or not self.members:
            return None
        own = sum(HEADERS * BLOCK + padded(member.size) for member in self.members)
        length = self.members[-1].offset + self.members[-1].size - self.members[0].offset + BLOCK
        return self.sha256[-1] if length <= 2 * own else None

    def _second_run(self, sample: RawSample, extensions: str) -> str:
        if sample.image is not None and self.seen[sample.key]:
            return f"{len(sample.members)} members after the sample of this key had ended; the first is used"
        return (
            f"its members ({extensions}) do not stand beside the others of this key: the tar is not sorted; "
            "pack it again in the order of names, as with tar --sort=name"
        )

    def _remark_dots(self, sample: RawSample) -> None:
        if len(sample.members) == 1:
            return
        dotted = [member.ext for member in sample.members if member.is_image and "." in member.ext]
        endings = Counter(ext.rpartition(".")[2].lower() for ext in dotted)
        if endings and max(endings.values()) > 1:
            example = f"{sample.key}.{dotted[0]} belongs to {sample.key}"
            self.remarks.add(Remark.DOTTED_KEYS, example, len(dotted))

    def _flush_nameless(self) -> Iterator[LedgerLine]:
        if self.nameless is not None:
            damage, self.nameless = self.nameless, None
            yield self._line("", damage.offset, damage.reason, damage.detail)

    def _line(self, key: str, offset: int, reason: Reason, detail: str) -> LedgerLine:
        return LedgerLine(self.shard, key, offset, "read", reason, detail)


def _absent_image(sample: RawSample, absent: list[tuple[int, Member, Absent]]) -> Damage | None:
    """What to say of a sample whose image, its first member of such a name, has no bytes of its own."""
    first = next((number for number, member in enumerate(sample.members) if member.is_image), len(sample.members))
    for before, member, entry in absent:
        if member.is_image and before <= first:
            return Damage(Reason.NO_IMAGE, sample.offset, entry.name, f"its image is {entry.detail}")
    return None
