"""How well each of the target's images is served: the worst ones, and some others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.search import exact_scores
from curator.store import RowReader
from curator_pipelines.jobs.pictures import Picture
from curator_pipelines.jobs.report.target_record import TargetRecord, in_hash_order

__all__ = ["Coverage", "Served", "coverage"]

WORST = 20
OTHERS = 10
SHOWN = 6


@dataclass(frozen=True)
class Served:
    """One target image and what it got.

    Attributes:
        photo: the image.
        best: the pool image that is nearest to it; None where the pool has none.
        best_is_chosen: whether that was chosen.
        chosen: some others of what was chosen for it, or for the group that it belongs to, best first.
        count: how many were.
        alone: whether the centroid is this image, and not a group of images.
    """

    photo: Picture
    best: Picture | None
    best_is_chosen: bool
    chosen: Sequence[Picture]
    count: int
    alone: bool


@dataclass(frozen=True)
class Coverage:
    """How well the target is served.

    Attributes:
        worst: those to which the pool's best image is farthest.
        others: some others, drawn at random.
        looked_at: how many target images were looked at.
        far: the share of them to which nothing in the pool is near; None where that is unknown.
        median: what near means: as near as the target's images typically are to each other.
    """

    worst: Sequence[Served]
    others: Sequence[Served]
    looked_at: int
    far: float | None
    median: float | None

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the section."""
        rows = [*self.worst, *self.others]
        # What each row is about comes first, in case there is no room for all.
        heads = [picture for row in rows for picture in (row.photo, row.best) if picture is not None]
        return [*heads, *(picture for row in rows for picture in row.chosen)]


def coverage(target: TargetRecord) -> Coverage:
    """Look at the (up to 500) target images whose best pool image the selection has found out."""
    rows = target.nearest["target_row"].to_numpy().astype(np.int64)
    scores = target.nearest["score"].fill_null(-2.0).to_numpy()
    order = np.argsort(scores, kind="stable")
    worst = order[:WORST]
    ids = target.target_ids[rows]
    others = np.flatnonzero(np.isin(ids, in_hash_order(ids[order[WORST:]], OTHERS)))
    places = [*worst.tolist(), *others.tolist()]
    vectors = RowReader(target.directory.target).vectors(ids[places]) if places else np.empty((0, 0), np.float16)
    verdict = target.record["verdict"] or {}
    share = verdict.get("share")
    best = [_best(row, score) for row, score in zip(target.nearest["id"].to_pylist(), scores.tolist(), strict=True)]
    is_chosen = np.isin(target.nearest["id"].fill_null(-1).to_numpy(), target.selection.ids)
    served = [
        _served(target, Picture("target", int(ids[place])), vector, best[place], bool(is_chosen[place]))
        for place, vector in zip(places, vectors, strict=True)
    ]
    return Coverage(
        served[: len(worst)],
        served[len(worst) :],
        len(rows),
        None if share is None else 1 - share,
        verdict.get("median"),
    )


def _best(row: int | None, score: float) -> Picture | None:
    return None if row is None else Picture("pool", row, score, "the nearest of the pool")


def _served(
    target: TargetRecord, photo: Picture, vector: NDArray[np.float16], best: Picture | None, is_chosen: bool
) -> Served:
    if not len(target.centroids):
        return Served(photo, best, is_chosen, (), 0, False)
    selection = target.selection
    scores = exact_scores(np.broadcast_to(vector, target.centroids.shape), target.centroids)
    own = int(scores.argmax())
    taken = np.flatnonzero(selection.anchors == own)
    pictures = [
        Picture("pool", int(selection.ids[place]), _finite(selection.scores[place])) for place in taken[: SHOWN + 1]
    ]
    others = [picture for picture in pictures if best is None or picture.id != best.id]
    # Where every image is its own centroid, it is as near to it as float16 allows.
    return Served(photo, best, is_chosen, others[:SHOWN], len(taken), bool(scores[own] > 1 - 1e-4))


def _finite(score: float) -> float | None:
    return float(score) if np.isfinite(score) else None
