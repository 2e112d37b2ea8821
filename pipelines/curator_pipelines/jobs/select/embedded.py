"""What the embed job leaves: the sum of all done-marks, and of the shards that could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curator.errors import Reason
from curator.sources import Remarks, count_left_out
from curator.store import Account, LedgerLines, Part, PartListing, StoredParts, check_max_bad
from curator.types import LedgerLine

if TYPE_CHECKING:
    from curator_pipelines.jobs.select.embed import EmbedJob

__all__ = ["Embedded", "collect_parts"]


@dataclass(frozen=True)
class Embedded:
    """What the embed job leaves.

    Attributes:
        stored: the parts, as they are from now on.
        account: what became of the samples of all parts.
        lines: the ledger lines of all parts.
        seconds: time per station, of all parts together.
        remarks: what is no damage and should be known.
    """

    stored: StoredParts
    account: Account
    lines: LedgerLines
    seconds: dict[str, float]
    remarks: Remarks

    def check_max_bad(self, max_bad: float | None, name: str) -> None:
        """Raise `TooManyBad` if too many samples are bad; a shard that could not be read counts with all of its own."""
        hidden = self.account.hidden
        check_max_bad(self.account.bad + hidden, self.account.seen + hidden, max_bad, name, self.lines)


def collect_parts(
    job: EmbedJob, parts: Sequence[Part], resumed: Mapping[int, str], unreadable: Mapping[int, str]
) -> tuple[Embedded, list[int]]:
    """Read every done-mark once, and add up what they say. Done-marks of other identities are removed.

    Args:
        job: whose parts.
        parts: all.
        resumed: those that were finished when the run began, by number.
        unreadable: part -> why it could not be read.

    Returns:
        the sum; and the parts whose files do not have the sizes that their done-marks tell. Their marks are gone.
    """
    job.run.check_owner()
    held = {part.part: part.identity for part in parts if part.place and not part.is_retired}
    own = {part.part: part.identity for part in parts if not part.is_retired and part.part not in held}
    finished = job.store.keep_marks(own) | held
    for kept in unreadable:
        finished.pop(kept, None)
    account = Account(left_out=count_left_out(job.sources), retired=sum(part.is_retired for part in parts))
    lines, seconds, remarks = LedgerLines(), dict[str, float](), Remarks()
    counts, damaged = {}, []
    known = {number: mark for number, mark in job.looked_at.items() if number in resumed}
    for number, mark in job.store.marks(finished, read=known):
        if number in resumed and number not in held and not mark.has_sizes(job.sizes[number, finished[number]]):
            damaged.append(number)
            job.store.remove_mark(number, finished[number])
            continue
        counts[number] = mark.counts
        account.add(mark.seen, mark.embedded, mark.ledger)
        lines.extend(mark.ledger)
        remarks.update(mark.remarks)
        for name, value in mark.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
    readable = sum(part.stat.size for part in parts if part.part in counts)
    per_byte = account.seen / readable if readable else 0.0
    for part in parts:
        if part.part in unreadable:
            # As many samples as readable shards of its size have.
            account.add_unreadable(max(1, round(part.stat.size * per_byte)))
            why = LedgerLine(part.url, "", 0, "read", Reason.UNREADABLE_SHARD, unreadable[part.part])
            lines.extend([why])
    marks = tuple((number, finished[number]) for number in counts)
    stored = StoredParts(job.store.url, PartListing(tuple(parts), marks), counts)
    return Embedded(stored, account, lines, seconds, remarks), damaged
