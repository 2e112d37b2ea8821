"""How much of what a selection needed the index returned: measured on rows put aside at random."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.search.exact_scores import propose, row_norms
from curator.search.pool import Floats
from curator.search.scan import scan_part
from curator.selection.rounds import run_rounds
from curator.selection.rules import Rules

__all__ = ["LEVEL", "Recall", "Sample", "clopper_pearson"]

LEVEL = 0.95
SPLIT_SEED = 0


@dataclass(frozen=True)
class Recall:
    """What is known about a selection over an index.

    Recall is the share, among the pool's rows that reach the final cut of some centroid, of those that the
    search read.

    Attributes:
        estimate: hits / wanted on the measuring half of the sample; 1 where it is proven.
        low: lower end of the 95% Clopper-Pearson interval.
        high: its upper end.
        wanted: rows of the measuring half that reach a cut: few of them make the interval wide.
        hits: those that the search read.
        proven: every list that was not read lies wholly below the cuts, so the selection is the exact one.
        scanned: share of the pool's rows that were read, the sample included.
        lists_read: lists read, of `lists`.
        lists: lists of the index.
        deepened: how often the first choice of lists did not do.
    """

    estimate: float | None
    low: float
    high: float
    wanted: int
    hits: int
    proven: bool
    scanned: float
    lists_read: int
    lists: int
    deepened: int

    def to_json(self) -> dict[str, Any]:
        """As in selection.json."""
        return asdict(self) | {"level": LEVEL, "interval": "Clopper-Pearson"}


class Sample:
    """Random rows of the pool, scored against all centroids, in two halves.

    One half decides how many lists to read, the other measures: a half that did both would flatter itself.

    Args:
        rows: float16 (m, d).
        lists: int32 (m,), the lists they are in.
        centroids: float32 (K, d).
    """

    def __init__(self, rows: Floats, lists: NDArray[np.int32], centroids: NDArray[np.float32]) -> None:
        wide = np.asarray(rows, np.float32)
        self.scores = propose(wide, row_norms(wide), centroids)
        self.lists = lists
        self._rows, self._centroids = rows, centroids
        self._first = np.random.default_rng(SPLIT_SEED).random(len(lists)) < 0.5

    def __len__(self) -> int:
        return len(self.lists)

    def first_cuts(self, share: float) -> NDArray[np.float32]:
        """Where the cuts of a selection of this share of the pool would about be, by one of the calibrating half.

        A centroid's cut cannot be told from its own scores: how deep its queue is emptied depends on how many
        other centroids want the same rows. At least one round is made. float32 (K,); -inf if all is chosen.
        """
        rows = self._rows[self._first]
        clusters = len(self._centroids)
        selection = run_rounds(
            lambda cursors, k: scan_part(0, rows, self._centroids, k, cursors),
            clusters,
            Rules(budget=max(1, math.ceil(share * len(rows)))),
        )
        return np.full(clusters, -np.inf, np.float32) if selection.lower_bounds is None else selection.lower_bounds

    def least(self) -> NDArray[np.float32]:
        """Each centroid's least score in the sample; float32 (K,)."""
        return np.asarray(self.scores.min(axis=1, initial=np.inf))

    def to_calibrate(self, cuts: NDArray[np.float32]) -> NDArray[np.int32]:
        """The lists of the calibrating half's rows that reach a cut, one entry a row."""
        return self.lists[self._first & self._wanted(cuts)]

    def to_measure(self, cuts: NDArray[np.float32]) -> NDArray[np.int32]:
        """The same of the measuring half."""
        return self.lists[~self._first & self._wanted(cuts)]

    def _wanted(self, cuts: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(np.any(self.scores >= cuts[:, None], axis=0))


def clopper_pearson(hits: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share that was met `hits` times in `trials` independent trials.

    It holds the true share at least as often as `level` says (Clopper, Pearson: "The Use of Confidence or
    Fiducial Limits Illustrated in the Case of the Binomial", Biometrika 1934).

    >>> clopper_pearson(0, 0)
    (0.0, 1.0)
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high
