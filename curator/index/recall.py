"""The share of the rows a selection needed that were read from the index, measured on rows put aside at random."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, propose, row_norms, scan_part
from curator.selection import Rules, run_rounds

__all__ = ["LEVEL", "Recall", "Sample", "clopper_pearson"]

# The share of all measurements whose interval holds the true recall.
LEVEL = 0.95
SPLIT_SEED, THIN_SEED = 0, 1
# Scores that are held, 768 MiB: with many centroids fewer rows are looked at.
MOST_SCORES = 3 << 26


@dataclass(frozen=True)
class Recall:
    """The recall of a selection over an index.

    A row of the pool is relevant if it reaches the final lower bound of a centroid. Recall is the share of the
    relevant rows that were read.

    Attributes:
        estimate: hits / relevant on the measuring half of the sample; 1 where it is proven; None without rows.
        low: the lower end of the 95% Clopper-Pearson interval.
        high: the upper end of that interval.
        relevant: the number of relevant rows in the measuring half; few of them make the interval wide.
        hits: the number of those that were read.
        proven: True if every list that was not read lies wholly below the lower bounds, so that the selection is the
            exact one.
        scanned: the share of the pool's rows that were read, the sample included.
        lists_read: the number of lists that were read.
        lists: the number of lists of the index.
        extensions: how often more lists were read after the first ones.
    """

    estimate: float | None
    low: float
    high: float
    relevant: int
    hits: int
    proven: bool
    scanned: float
    lists_read: int
    lists: int
    extensions: int

    def to_json(self) -> dict[str, Any]:
        """The form in selection.json."""
        return asdict(self) | {"level": LEVEL, "interval": "Clopper-Pearson"}


class _Block(NamedTuple):
    """Rows of the sample, the lists they are in, whether they calibrate, and of each a random number from 0 to 1."""

    rows: Floats
    lists: NDArray[np.int32]
    calibrates: NDArray[np.bool_]
    drawn: NDArray[np.float64]

    def below(self, share: float) -> _Block:
        """Those whose random number is below the share."""
        kept = self.drawn < share
        return _Block(self.rows[kept], self.lists[kept], self.calibrates[kept], self.drawn[kept])


class Sample:
    """Random rows of the pool, scored against all centroids, in two halves.

    One half decides how many lists to read, the other half measures. A half that did both would measure too much.
    Memory: the scores, and the rows. Of more rows than there is room for some are left out,
    at random.

    Args:
        pieces: rows of each piece, float16 (m, d), and the lists they are in, int32 (m,).
        centroids: float32 (K, d).

    Attributes:
        scores: float32 (K, m), the scores of the rows.
        lists: int32 (m,), the lists they are in.
        given: int32, the lists of all rows, those left out, too.
    """

    def __init__(self, pieces: Iterable[tuple[Floats, NDArray[np.int32]]], centroids: NDArray[np.float32]) -> None:
        chance = np.random.default_rng(SPLIT_SEED)
        thinning = np.random.default_rng(THIN_SEED)
        given, blocks, share = [], list[_Block](), 1.0
        for rows, lists in pieces:
            given.append(lists)
            calibrates, drawn = chance.random(len(lists)) < 0.5, thinning.random(len(lists))
            blocks.append(_Block(rows, lists, calibrates, drawn).below(share))
            while sum(len(block.lists) for block in blocks) * len(centroids) > MOST_SCORES:
                share *= 0.9
                blocks = [block.below(share) for block in blocks]
        self.given = np.concatenate(given)
        self.lists = np.concatenate([block.lists for block in blocks])
        self._calibrates = np.concatenate([block.calibrates for block in blocks])
        self.scores, end = np.empty((len(centroids), len(self.lists)), np.float32), 0
        for block in blocks:
            wide, start = np.asarray(block.rows, np.float32), end
            end += len(wide)
            self.scores[:, start:end] = propose(wide, row_norms(wide), centroids)
        self._rows = np.concatenate([block.rows[block.calibrates] for block in blocks])
        self._centroids = centroids

    def __len__(self) -> int:
        return len(self.lists)

    def first_lower_bounds(self, share: float) -> NDArray[np.float32]:
        """About the lower bounds of a selection of this share of the pool, from a selection of the calibrating half.

        The lower bound of a centroid cannot be told from its own scores: how many of its best rows are left depends on
        how many of them other centroids take. At least one round is made. float32 (K,); -inf if all rows are chosen.
        """
        rows = self._rows
        clusters = len(self._centroids)
        selection = run_rounds(
            lambda lines, cursors, k: scan_part(0, rows, self._centroids[lines], k, cursors),
            clusters,
            Rules(budget=max(1, math.ceil(share * len(rows)))),
        )
        return np.full(clusters, -np.inf, np.float32) if selection.lower_bounds is None else selection.lower_bounds

    def least(self) -> NDArray[np.float32]:
        """Each centroid's least score in the sample, float32 (K,)."""
        return np.asarray(self.scores.min(axis=1, initial=np.inf))

    def to_calibrate(self, lower_bounds: NDArray[np.float32]) -> NDArray[np.int32]:
        """The list of each row of the calibrating half that reaches the lower bound of a centroid."""
        return self.lists[self._calibrates & self._reach(lower_bounds)]

    def to_measure(self, lower_bounds: NDArray[np.float32]) -> NDArray[np.int32]:
        """The list of each row of the measuring half that reaches the lower bound of a centroid."""
        return self.lists[~self._calibrates & self._reach(lower_bounds)]

    def _reach(self, lower_bounds: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(np.any(self.scores >= lower_bounds[:, None], axis=0))


def clopper_pearson(hits: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """The confidence interval of a share that was met `hits` times in `trials` independent trials.

    The interval holds the true share at least as often as `level` says (Clopper, Pearson: "The Use of Confidence or
    Fiducial Limits Illustrated in the Case of the Binomial", Biometrika 1934).

    >>> clopper_pearson(0, 0)
    (0.0, 1.0)
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high
