"""Filters that compare a row with a set that does not change, such as evaluation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, Pairs, SimilarityJoin
from curator.selection.filters import AHEAD_ROWS, Ahead, Filter, Rejection, nothing_ahead

__all__ = ["NEAR_EVALUATION", "ReadHashes", "ReadRows", "ask_once", "hashes_of", "near_evaluation"]

NEAR_EVALUATION = "near_evaluation"
# Rows whose answers are remembered.
KNOWN_ROWS = 1 << 16

# The rows of ids: int64 (n,) to float16 or float32 (n, d).
ReadRows: TypeAlias = Callable[[NDArray[np.int64]], Floats]

# The hashes of the images of ids; None where one is not known.
ReadHashes: TypeAlias = Callable[[NDArray[np.int64]], Sequence[str | None]]


def near_evaluation(
    read_rows: ReadRows, evaluation: SimilarityJoin, ids: NDArray[np.int64], threshold: float
) -> Filter:
    """A filter that refuses rows near to any of an evaluation set.

    Args:
        read_rows: the pool's rows.
        evaluation: the evaluation set.
        ids: int64, its ids, in the order in which the rows were added.
        threshold: the least similarity that is too near.

    Returns:
        The filter. Its rejections name the nearest row of the set, of several the first. A row is compared once.
    """

    def find(rows: NDArray[np.int64]) -> list[Rejection | None]:
        rejections: list[Rejection | None] = [None] * len(rows)
        pairs = evaluation.find(read_rows(rows), threshold)
        for query in np.unique(pairs.query).tolist():
            member, similarity = _nearest(pairs, query)
            rejections[query] = Rejection(NEAR_EVALUATION, "", int(ids[member]), similarity)
        return rejections

    return ask_once(find)


def ask_once(find: Callable[[NDArray[np.int64]], Sequence[Rejection | None]]) -> Filter:
    """A filter without a memory of what was chosen, from a function of rows that need not see a row twice.

    Args:
        find: ids, int64 (n,), to why each must be skipped; None for a row that may be chosen.
    """
    known: dict[int, Rejection | None] = {}

    def row_filter(rows: NDArray[np.int64], ahead: Ahead = nothing_ahead, /) -> tuple[int, Rejection] | None:
        nonlocal known
        numbers = rows.tolist()
        if any(row not in known for row in numbers):
            if len(known) > KNOWN_ROWS:
                known = {row: known[row] for row in numbers if row in known}
            fresh = [row for row in dict.fromkeys([*numbers, *ahead()[:AHEAD_ROWS].tolist()]) if row not in known]
            known |= zip(fresh, find(np.array(fresh, np.int64)), strict=True)
        return next(((place, rejection) for place, row in enumerate(numbers) if (rejection := known[row])), None)

    return row_filter


def hashes_of(read: ReadHashes, ids: NDArray[np.int64]) -> list[str | None]:
    """The hash of each id, of which some may stand several times: each is read once."""
    distinct, places = np.unique(ids, return_inverse=True)
    hashes = read(distinct)
    return [hashes[place] for place in places.tolist()]


def _nearest(pairs: Pairs, query: int) -> tuple[int, float]:
    """The member nearest to a query, of several the first, and how near."""
    own = slice(*np.searchsorted(pairs.query, [query, query + 1]))
    best = int(np.argmax(pairs.similarity[own]))
    return int(pairs.member[own][best]), float(pairs.similarity[own][best])
