"""The pictures of a comparison: what only one selection has, what all have, and whom which one serves better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.selection import query_rows
from curator.store import PartReader
from curator_pipelines.jobs.compare.coverage import Coverage, same_target
from curator_pipelines.jobs.compare.match import Match
from curator_pipelines.jobs.compare.sides import Side
from curator_pipelines.jobs.pictures import Picture, Strip
from curator_pipelines.jobs.report import chosen_picture, in_hash_order

__all__ = ["Served", "better_served", "stores_of", "strips_of"]

WIDTH = 24
OF_TARGET = 12
SERVED = 10


@dataclass(frozen=True)
class Served:
    """One image of the target and the chosen ones nearest to it.

    Attributes:
        photo: the image.
        nearest: of each selection that chose any.
    """

    photo: Picture
    nearest: Sequence[Picture]

    @property
    def pictures(self) -> list[Picture]:
        """All of them."""
        return [self.photo, *self.nearest]


def stores_of(sides: Sequence[Side]) -> Mapping[str, PartReader]:
    """Where the pictures of these selections come from, as `Album` takes it."""
    pools = {side.pool_set: side.target.directory.pool for side in sides}
    return pools | {side.target_set: side.target.directory.target for side in sides}


def strips_of(sides: Sequence[Side], matches: Sequence[Match]) -> list[Strip]:
    """Of each selection what no other has, and of the first what all have; the first chosen ones of them."""
    is_one = all(same_target(sides[0], side) for side in sides[1:])
    strips = [_of_target(side, "The target" if is_one else f"The target of {side.letter}") for side in sides]
    strips = strips[:1] if is_one else strips
    for number, side in enumerate(sides):
        alone = np.flatnonzero(~np.any(_elsewhere(number, sides, matches), axis=0))
        others = "the other" if len(sides) == 2 else "any other"
        strips.append(_strip(side, alone, f"Only in {side.letter}", f"{len(alone):,} are not in {others}"))
    common = np.flatnonzero(np.all(_elsewhere(0, sides, matches), axis=0))
    title = "In both" if len(sides) == 2 else "In all"
    strips.append(_strip(sides[0], common, title, f"{len(common):,}, in the order of {sides[0].letter}"))
    return strips


def better_served(sides: Sequence[Side], coverages: Sequence[Coverage]) -> list[Served]:
    """The images of a target that the first two selections serve most differently, as one encoder sees it.

    Empty where no encoder has seen the target and both selections, and where none differs.
    """
    first, second = sides[:2]
    found = {(each.of, each.by): each for each in coverages}
    own, other = found.get((first.letter, first.letter)), found.get((second.letter, first.letter))
    if first.encoder == second.encoder and first.images == second.images:
        other = found.get((second.letter, second.letter))
    if own is None or other is None:
        return []
    order = np.argsort(own.scores - other.scores, kind="stable")
    most = dict.fromkeys([*order[::-1][: SERVED // 2].tolist(), *order[: SERVED // 2].tolist()])
    photos = first.target.target_ids[query_rows(first.target.directory.target_vectors)]
    return [
        Served(
            Picture(first.target_set, int(photos[place]), note="one of the target's"),
            [_nearest(first, own, place), _nearest(second, other, place)],
        )
        for place in most
        if own.scores[place] != other.scores[place]
    ]


def _nearest(side: Side, coverage: Coverage, place: int) -> Picture:
    chosen = int(coverage.nearest[place])
    return Picture(
        side.pool_set,
        int(side.target.selection.ids[chosen]),
        float(coverage.scores[place]),
        f"the nearest of {side.letter}, place {chosen + 1:,}",
    )


def _of_target(side: Side, title: str) -> Strip:
    ids = in_hash_order(side.target.target_ids, OF_TARGET)
    pictures = [Picture(side.target_set, row) for row in ids.tolist()]
    return Strip(title, pictures, f"{len(side.target.target_ids):,} images, some at random")


def _strip(side: Side, places: NDArray[np.int64], title: str, note: str) -> Strip:
    return Strip(title, [chosen_picture(side.target, place, side.pool_set) for place in places[:WIDTH].tolist()], note)


def _elsewhere(number: int, sides: Sequence[Side], matches: Sequence[Match]) -> list[NDArray[np.bool_]]:
    """Of each other selection: which samples of this one it has."""
    own = [match for match in matches if number in (match.first, match.second)]
    return [match.seen_from(number, len(sides[number])) for match in own]
