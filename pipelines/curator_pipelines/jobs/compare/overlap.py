"""How much two selections have in common: in all, and among their first ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_pipelines.jobs.compare.match import Match

__all__ = ["Depth", "Overlap", "depths", "overlap_of", "shared_at"]


@dataclass(frozen=True)
class Depth:
    """What two selections have in common among their first ones.

    Attributes:
        depth: so many of each are looked at; all of one that has fewer.
        both: how many are in both.
        jaccard: `both` by how many different ones these are.
        share: `both` by how many there could be.
    """

    depth: int
    both: int
    jaccard: float
    share: float


@dataclass(frozen=True)
class Overlap:
    """What two selections have in common.

    Attributes:
        first: letter of the first.
        second: letter of the second.
        both: how many samples are in both.
        only_first: how many are in the first alone.
        only_second: how many are in the second alone.
        jaccard: `both` by how many different samples the two have; 0 where they have none.
        by_name: how many of `both` are the same by shard and key.
        by_bytes: how many by the bytes of their image.
        renamed: how many have one shard and key and different bytes, since the shard was replaced; they are not the
            same.
        unknown: of each: how many could be in the other under another name, which their missing sha256 would tell.
        elsewhere: of each: how many of those it has alone are from sources that the other's pool does not name.
        by_rank: the same among the first 10, 100, 1,000 and so on, and in all.
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    jaccard: float
    by_name: int
    by_bytes: int
    renamed: int
    unknown: tuple[int, int]
    elsewhere: tuple[int, int]
    by_rank: Sequence[Depth]


def overlap_of(match: Match, letters: tuple[str, str], counts: tuple[int, int], elsewhere: tuple[int, int]) -> Overlap:
    """The overlap that a match gives.

    Args:
        match: of the two selections.
        letters: what they are called.
        counts: how many samples each has.
        elsewhere: see `Overlap`.
    """
    both = match.by_name + match.by_bytes
    ranks = depths(max(counts))
    shared = shared_at(match, np.array(ranks, np.int64))
    by_rank = [_depth(depth, int(common), counts) for depth, common in zip(ranks, shared, strict=True)]
    return Overlap(
        *letters,
        both,
        counts[0] - both,
        counts[1] - both,
        _share(both, sum(counts) - both),
        match.by_name,
        match.by_bytes,
        match.renamed,
        match.unknown,
        elsewhere,
        by_rank,
    )


def depths(count: int) -> list[int]:
    """10, 100, 1,000 and so on below a count, and the count itself.

    >>> depths(700)
    [10, 100, 700]
    """
    powers = [10**power for power in range(1, 19) if 10**power < count]
    return [*powers, count]


def shared_at(match: Match, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many samples are among the first so many of both, int64 of the shape of `ranks`."""
    rows = np.flatnonzero(match.places >= 0)
    # A pair is in both from the later of its two places on.
    later = np.sort(np.maximum(rows, match.places[rows]))
    return np.searchsorted(later, ranks, side="left")


def _depth(depth: int, both: int, counts: tuple[int, int]) -> Depth:
    sizes = [min(depth, count) for count in counts]
    return Depth(depth, both, _share(both, sum(sizes) - both), _share(both, min(sizes)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
