"""How near the chosen images are to the target's: of each selection by its own encoder, and by the others' too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.errors import CuratorError
from curator.search import Floats, best_rows
from curator.selection import query_rows
from curator.store import RowReader
from curator.types import unit_rows
from curator_pipelines.jobs.compare.sides import Side

__all__ = ["Coverage", "coverage_of", "coverages_of", "same_target", "seen_by"]

# The first ones of a selection, which hold the nearest ones of any selector that looks for those.
CHOSEN_ROWS = 100_000
BLOCK = 16_384


@dataclass(frozen=True)
class Coverage:
    """How well a selection serves a target, as one encoder sees it.

    Attributes:
        of: letter of the selection.
        by: letter of the run whose encoder and target these are.
        photos: how many images of the target were looked at, at most 500.
        near: what near means: as near as the target's images typically are to each other; None where that is unknown.
        served: the share of these images that have a chosen one nearer than that; None where `near` is.
        median: of the similarities of these images to the chosen one nearest to each.
        q10: a tenth of them are below.
        chosen: how many chosen samples were looked at; where there are more, all numbers are lower bounds.
        scores: float32 (photos,), the similarities.
        nearest: int64 (photos,), place in the order of choice of the chosen one nearest to each.
    """

    of: str
    by: str
    photos: int
    near: float | None
    served: float | None
    median: float
    q10: float
    chosen: int
    scores: NDArray[np.float32]
    nearest: NDArray[np.int64]


def coverages_of(sides: Sequence[Side]) -> list[Coverage]:
    """Of each selection by its own encoder; and by each other encoder that has seen both target and chosen images."""
    chosen = [side for side in sides if len(side)]
    by_others = [coverage_of(side, by) for side in chosen for by in _other_encoders(side, sides)]
    return [*(coverage_of(side, side) for side in chosen), *by_others]


def _other_encoders(side: Side, sides: Sequence[Side]) -> list[Side]:
    """Runs of other encoders that have seen both target and chosen images of this one; of each encoder the first."""
    others: list[Side] = []
    for by in sides:
        is_new = by.encoder not in [side.encoder, *(other.encoder for other in others)]
        if is_new and same_target(side, by) and seen_by(side, by):
            others.append(by)
    return others


class _Chosen:
    """Chosen rows as a pool: its parts are blocks of them, in order of choice."""

    def __init__(self, rows: RowReader, ids: NDArray[np.int64]) -> None:
        self._rows, self._ids = rows, ids

    def parts(self) -> Iterator[tuple[int, Floats]]:
        for number, start in enumerate(range(0, len(self._ids), BLOCK)):
            yield number, self._rows.vectors(self._ids[start : start + BLOCK])


def coverage_of(side: Side, by: Side) -> Coverage:
    """How near the chosen of one selection are to the target of a run, as that run's encoder sees them.

    Args:
        side: the selection. If it is not `by`, its ids must mean the same samples there: see `seen_by`.
        by: whose embeddings and target these are.

    Cost: the vectors of at most 100,000 chosen rows are read, 16,384 at a time, and each is scored with 500 others.
    """
    target = by.target
    photos = query_rows(target.directory.target_vectors)
    vectors = unit_rows(target.directory.target_vectors[photos])[0].astype(np.float32)
    ids = side.target.selection.ids[:CHOSEN_ROWS]
    best = best_rows(_Chosen(target.pool_rows, ids), vectors, 1)
    scores = best.scores[:, 0]
    near = target.record["quantiles"]["median"]
    return Coverage(
        side.letter,
        by.letter,
        len(photos),
        near,
        None if near is None else float(np.mean(scores > near)),
        float(np.median(scores)),
        float(np.quantile(scores, 0.1)),
        len(ids),
        scores,
        (best.ids[:, 0] >> 32) * BLOCK + (best.ids[:, 0] & 0xFFFFFFFF),
    )


def seen_by(side: Side, by: Side) -> bool:
    """Whether the encoder of another run has seen the chosen samples of this one, under the same ids."""
    ids = side.target.selection.ids[:CHOSEN_ROWS]
    try:
        rows = by.target.directory.pool.rows(ids, ["shard", "image_path"])
    except (CuratorError, pa.ArrowIndexError):
        return False
    own = side.samples.slice(0, len(ids))
    return bool(rows["shard"].equals(own["shard"]) and rows["image_path"].equals(own["key"]))


def same_target(side: Side, other: Side) -> bool:
    """Whether two selections were made for the same images."""
    return sorted(side.images) == sorted(other.images)
