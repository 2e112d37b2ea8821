"""Filters that compare a row with others: with evaluation images, and with what was chosen before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, Pairs, SimilarityJoin
from curator.selection.filters import Filter, Rejection

__all__ = [
    "DUPLICATE",
    "NEAR_DUPLICATE",
    "NEAR_EVALUATION",
    "ReadHashes",
    "ReadRows",
    "ask_once",
    "near_evaluation",
    "no_duplicates",
]

NEAR_EVALUATION = "near_evaluation"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near_duplicate"
# Equal images have embeddings at least this near, wherever they were computed: among others no hash is looked up.
COPIES = 0.99

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

    def row_filter(rows: NDArray[np.int64]) -> tuple[int, Rejection] | None:
        nonlocal known
        numbers = rows.tolist()
        fresh = [row for row in numbers if row not in known]
        answers = dict(zip(fresh, find(np.array(fresh, np.int64)), strict=True)) if fresh else {}
        # Only rows of the last call can come again.
        known = {row: answers[row] if row in answers else known[row] for row in numbers}
        return next(((place, rejection) for place, row in enumerate(numbers) if (rejection := known[row])), None)

    return row_filter


def _nearest(pairs: Pairs, query: int) -> tuple[int, float]:
    """The member nearest to a query, of several the first, and how near."""
    own = slice(*np.searchsorted(pairs.query, [query, query + 1]))
    best = int(np.argmax(pairs.similarity[own]))
    return int(pairs.member[own][best]), float(pairs.similarity[own][best])


def no_duplicates(read_rows: ReadRows, hashes: ReadHashes, basis: NDArray[np.float32], threshold: float) -> Filter:
    """A filter that refuses rows that show what a chosen row shows: the first in order of choice stays.

    A row whose image has the hash of a chosen one is a `duplicate`, one at least `threshold` near to a chosen one a
    `near_duplicate`. The rejection names the chosen row: one of the same hash, else the nearest; of several the
    one chosen first. Chains do not count: a row is compared with chosen rows only, never with those skipped.

    Args:
        read_rows: the pool's rows.
        hashes: of the pool's images.
        basis: from `directions`; changes the time, never the result.
        threshold: the least similarity that is too near, above 0 and at most 1.

    Returns:
        The filter, which remembers all rows that it accepts: see `SimilarityJoin` for the memory.
    """
    return _NoDuplicates(read_rows, hashes, basis, threshold)


class _NoDuplicates:
    def __init__(self, read_rows: ReadRows, hashes: ReadHashes, basis: NDArray[np.float32], threshold: float) -> None:
        self._read_rows, self._hashes, self._basis, self._threshold = read_rows, hashes, basis, threshold
        self._chosen = SimilarityJoin(basis)
        self._ids: list[int] = []
        # Rows that may come again: what is known of them, up to how many chosen rows.
        self._waiting: dict[int, tuple[Floats, bool]] = {}
        self._compared = 0

    def __call__(self, rows: NDArray[np.int64]) -> tuple[int, Rejection] | None:
        vectors, hit = self._compare(rows)
        place = self._first(rows, vectors, hit)
        self._chosen.add(vectors[:place])
        self._ids += rows[:place].tolist()
        rest = zip(rows[place + 1 :].tolist(), vectors[place + 1 :], hit[place + 1 :].tolist(), strict=True)
        self._waiting = {row: (vector, near) for row, vector, near in rest}
        return (
            None
            if place == len(rows)
            else (place, self._rejection(rows[place : place + 1], vectors[place : place + 1]))
        )

    def _compare(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        """The rows' vectors, and which are near to a row chosen before this call."""
        known = np.array([row in self._waiting for row in rows.tolist()], bool)
        fresh, again = np.flatnonzero(~known), np.flatnonzero(known)
        hit = np.zeros(len(rows), bool)
        read = self._read_rows(rows[fresh])
        vectors = np.empty((len(rows), read.shape[1]), read.dtype)
        vectors[fresh] = read
        for place in again.tolist():
            vectors[place], hit[place] = self._waiting[int(rows[place])]
        for places, start in ((fresh, 0), (again, self._compared)):
            pairs = self._near(self._chosen, rows[places], vectors[places], self._ids, start)
            hit[places[pairs.query]] = True
        self._compared = len(self._chosen)
        return vectors, hit

    def _first(self, rows: NDArray[np.int64], vectors: Floats, hit: NDArray[np.bool_]) -> int:
        """The place of the first row that is near to a chosen one or to one before it."""
        among = SimilarityJoin(self._basis)
        among.add(vectors)
        pairs = self._near(among, rows, vectors, rows.tolist(), 0)
        later = pairs.query[pairs.member < pairs.query]
        return int(min([*np.flatnonzero(hit)[:1], *later[:1], len(rows)]))

    def _near(
        self,
        among: SimilarityJoin,
        rows: NDArray[np.int64],
        vectors: Floats,
        ids: Sequence[int] | NDArray[np.int64],
        start: int,
    ) -> Pairs:
        """Pairs that are near enough, or less near and of one hash."""
        pairs = among.find(vectors, min(self._threshold, COPIES), start)
        unsure = np.flatnonzero(pairs.similarity < np.float32(self._threshold))
        if len(unsure) == 0:
            return pairs
        keep = np.ones(len(pairs.query), bool)
        query_hashes = self._hashes(rows[pairs.query[unsure]])
        member_ids = np.array([ids[member] for member in pairs.member[unsure].tolist()], np.int64)
        hashes = zip(query_hashes, self._hashes(member_ids), strict=True)
        keep[unsure] = [bool(query) and query == member for query, member in hashes]
        return Pairs(pairs.query[keep], pairs.member[keep], pairs.similarity[keep])

    def _rejection(self, row: NDArray[np.int64], vector: Floats) -> Rejection:
        pairs = self._near(self._chosen, row, vector, self._ids, 0)
        matches = np.array([self._ids[member] for member in pairs.member.tolist()], np.int64)
        own, *others = self._hashes(np.concatenate([row, matches]))
        same = [place for place, other in enumerate(others) if own and own == other]
        best = same[0] if same else int(np.argmax(pairs.similarity))
        reason = DUPLICATE if same else NEAR_DUPLICATE
        return Rejection(reason, "", int(matches[best]), float(pairs.similarity[best]))
