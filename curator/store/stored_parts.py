"""A frozen snapshot of a store: which parts it has, and how many samples each holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from curator.errors import InputError, counted
from curator.store.part_reader import Part, PartReader, named
from curator.store.place import Place

__all__ = ["PartCounts", "PartListing", "StoredParts", "lost_text"]

LOST_ADVICE = ("bring them back", "relocate this run to where they are", "run its own select again")


def lost_text(lost: Sequence[Part]) -> str:
    """What is wrong with parts that another store does not hold as it did, in words."""
    first = lost[0]
    assert first.place is not None
    return (
        f"{counted(len(lost), 'part is', 'parts are')} gone, or made anew, where another run held them, the first of "
        f"{first.url} in {first.place.store}"
    )


class PartCounts(NamedTuple):
    """What a done-mark counts.

    Attributes:
        seen: samples met in the source.
        embedded: rows stored.
        dim: columns of the array.
    """

    seen: int
    embedded: int
    dim: int


@dataclass(frozen=True)
class PartListing:
    """Which parts a store has, without what their done-marks say.

    Attributes:
        registered: all parts, by number.
        marks: part number and identity hash of every done-mark, also of those that other stores hold. A part may have
            several, where a worker outlived its run.
    """

    registered: tuple[Part, ...] = ()
    marks: tuple[tuple[int, str], ...] = ()

    @cached_property
    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of the finished parts: of the marks of a part, its registered identity counts.

        Without parts.parquet there is nothing to go by, and every mark counts.
        """
        if not self.registered:
            return dict(self.marks)
        marks = set(self.marks)
        current = ((part.part, part.identity) for part in self.registered if not (part.is_retired or part.is_kept))
        return dict(mark for mark in current if mark in marks)

    @cached_property
    def places(self) -> dict[int, Place]:
        """Part number -> where it is, of those that another store holds."""
        return {part.part: part.place for part in self.registered if part.place}

    @cached_property
    def lost(self) -> list[Part]:
        """The parts that another store held, and holds no more under their identity."""
        held = (part for part in self.registered if part.place and not (part.is_retired or part.is_kept))
        return [part for part in held if part.part not in self.finished]

    def check_places(self, url: str) -> None:
        """Refuse to go on without parts that another store should hold.

        Raises:
            InputError: one of them is gone, or was made anew under another identity.
        """
        if self.lost:
            raise InputError(f"{url}: {lost_text(self.lost)}", advice=LOST_ADVICE)


@dataclass(frozen=True)
class StoredParts(PartReader):
    """The parts of a store at one moment. Asking it which parts there are costs no storage call.

    Memory: some hundred bytes a part, nothing a sample.

    Attributes:
        url: where the parts are.
        listing: which parts there are.
        counts: part number -> what the done-mark of a finished part counts.
    """

    url: str
    listing: PartListing
    counts: Mapping[int, PartCounts]

    def registered(self) -> list[Part]:
        """All parts, retired ones too, numbered from 0 in first-seen order."""
        return list(self.listing.registered)

    def identity_of(self, part: int) -> str:
        """The identity hash of a finished part."""
        return named(self.url, self.listing.finished, part)

    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of every finished part."""
        return dict(self.listing.finished)

    def place_of(self, part: int) -> Place | None:
        """Where another store holds a part."""
        return self.listing.places.get(part)

    def lengths(self) -> dict[int, int]:
        """Part number -> embedded samples of every finished part."""
        return {part: counts.embedded for part, counts in self.counts.items()}

    @property
    def dim(self) -> int:
        """Columns of the arrays; the first finished part speaks for all.

        Raises:
            ValueError: no part is finished.
        """
        return self.counts[min(self.counts)].dim
