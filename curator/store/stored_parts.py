"""A frozen snapshot of a store: which parts it has, and how many samples each holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from curator.store.part_reader import Part, PartReader, named

__all__ = ["PartCounts", "PartListing", "StoredParts"]


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
        marks: part number and identity hash of every done-mark. A part may have several, where a worker outlived
            its run.
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
