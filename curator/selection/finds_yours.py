"""Finds yours: where the target's own held-out images would stand among the pool's. Needs no labels.

It compares encoders and scores; it grades none: at best the median is about half the share of the pool that is of the
target's kind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, best_similarity
from curator.selection.held_out import HeldOut

__all__ = ["CHANCE", "beats_chance", "is_better", "pool_ranks"]

CHANCE = 0.5
SIGNIFICANT = 0.01


def pool_ranks(held_out: HeldOut, pool_rows: Floats) -> NDArray[np.float64]:
    """The rank of each held-out row among rows of the pool, by the score with the centroids of the other folds.

    Args:
        held_out: of the target.
        pool_rows: float16 or float32 (n, d), the pool or a sample of it.

    Returns:
        float64 (held-out rows,): the share of the pool's rows that score higher; those that score the same count half,
        so an encoder to which all images are alike gives 0.5, which is chance. NaN for an empty pool. Cost 2nKd a fold.
    """
    ranks = np.full(len(held_out.rows), np.nan)
    if len(pool_rows) == 0:
        return ranks
    for number, centroids in enumerate(held_out.centroids):
        scores = np.sort(best_similarity(pool_rows, centroids))
        left_out = held_out.fold == number
        own = held_out.similarity[left_out]
        below, up_to = np.searchsorted(scores, own, "left"), np.searchsorted(scores, own, "right")
        ranks[left_out] = (len(scores) - (below + up_to) / 2) / len(scores)
    return ranks


def is_better(ranks: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether ranks are significantly lower than others of the same held-out rows.

    A one-sided sign test, row by row, at p < 0.01; rows with equal ranks do not count.

    >>> is_better(np.full(7, 0.1), np.full(7, 0.2)), is_better(np.full(6, 0.1), np.full(6, 0.2))
    (True, False)
    """
    lower, higher = int(np.sum(ranks < others)), int(np.sum(ranks > others))
    return bool(_sign_test(lower, lower + higher) < SIGNIFICANT)


def beats_chance(ranks: NDArray[np.float64]) -> bool:
    """Whether held-out rows rank significantly better than rows drawn at random would."""
    return is_better(ranks, np.full(len(ranks), CHANCE))


def _sign_test(successes: int, trials: int) -> float:
    """The chance of at least so many heads in so many throws of a coin."""
    if successes == 0:
        return 1.0
    # What scipy.stats calls binomtest; to import that takes as long as a small selection.
    from scipy.special import bdtrc

    return float(bdtrc(successes - 1, trials, 0.5))
