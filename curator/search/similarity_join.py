"""Rows that are nearer to each other than a threshold, exactly, for a small part of the price of all scores.

    rows -> projection (on the main directions, and the length of the rest) -> bound of every pair -> exact scores

With P the projection on orthonormal directions and r the length of what lies outside them, the cosine of
two unit rows is at most Pa . Pb + r_a r_b (Cauchy-Schwarz on the rest): again a dot product, of the projections with r
as one more number. Only pairs whose bound reaches the threshold are scored in full dimension. The main directions, in
which the rows vary most, leave little outside; they decide about the time, never about the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.float16 import widen
from curator.search.pool import Floats
from curator.search.scoring import MARGIN, exact_pairs, row_norms
from curator.types import unit_rows

__all__ = ["Pairs", "SimilarityJoin", "directions"]

DIRECTIONS = 64
SAMPLE = 2048
# Rows held in one block, and rows compared with it at once: 16 MiB of bounds.
BLOCK = 8192
QUERIES = 512
PAIRS = 1 << 16
# Numbers of rows that are gathered at once: they stay in the processor's cache.
NUMBERS = 1 << 18
# Where one in so many pairs is left over by the bound, a product of all is faster than one of each.
DENSE = 32
# What rounding may take from the squared length outside the directions.
SLACK = 1e-6


class Pairs(NamedTuple):
    """Near pairs, by query, then member.

    Attributes:
        query: int64 (pairs,), rows given, counted from 0.
        member: int64 (pairs,), rows held, in order of addition.
        similarity: float32 (pairs,), exact score of the query row and the member brought to unit length.
    """

    query: NDArray[np.int64]
    member: NDArray[np.int64]
    similarity: NDArray[np.float32]


def directions(rows: Floats) -> NDArray[np.float32]:
    """The main directions of rows: float32 (d, at most 64), orthonormal columns.

    Args:
        rows: float16 or float32 (n, d), a sample of what will be compared, in any number: 2,048 are looked at.
    """
    sample = _unit(rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE]).astype(np.float64)
    dim = sample.shape[1]
    if dim <= DIRECTIONS:
        return np.eye(dim, dtype=np.float32)
    columns = np.linalg.eigh(sample.T @ sample)[1][:, -DIRECTIONS:]
    return np.asarray(columns, np.float32)


class _Given(NamedTuple):
    """Rows that are compared with those held.

    Attributes:
        rows: float16 or float32 (n, d).
        norms: float64 (n,).
        projection: float32 (n, directions + 1).
    """

    rows: Floats
    norms: NDArray[np.float64]
    projection: NDArray[np.float32]


class SimilarityJoin:
    """A growing set of rows that finds those near to others.

    Memory per row: its float16 numbers, and 268 bytes. A comparison costs 65 multiplications, and d more for the
    pairs that the bound cannot tell apart.

    Args:
        basis: from `directions`; changes the time, never the result.
    """

    def __init__(self, basis: NDArray[np.float32]) -> None:
        self._basis = basis
        self._blocks: list[_Given] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Floats) -> None:
        """Hold more rows, float16 or float32 (n, d)."""
        added = self._given(rows)
        taken = 0
        while taken < len(rows):
            room = -self._count % BLOCK
            if room == 0:
                room = BLOCK
                self._blocks.append(_Given(*(np.empty((BLOCK, *column.shape[1:]), column.dtype) for column in added)))
            count = min(room, len(rows) - taken)
            held, place = self._blocks[-1], slice(BLOCK - room, BLOCK - room + count)
            held.rows[place] = added.rows[taken : taken + count]
            held.norms[place] = added.norms[taken : taken + count]
            held.projection[place] = added.projection[taken : taken + count]
            taken += count
            self._count += count

    def take(self, places: NDArray[np.int64]) -> Floats:
        """The rows held at these places, in the order of `places`; at least one row must be held."""
        first = self._blocks[0].rows
        rows = np.empty((len(places), first.shape[1]), first.dtype)
        for block, held in enumerate(self._blocks):
            own = np.flatnonzero(places // BLOCK == block)
            rows[own] = held.rows[places[own] % BLOCK]
        return rows

    def find(self, rows: Floats, threshold: float, among: NDArray[np.bool_] | None = None) -> Pairs:
        """All pairs of these rows and the rows held with a similarity of at least `threshold`.

        Args:
            rows: float16 or float32 (n, d).
            threshold: compared as float32 with the exact similarity.
            among: bool, for each row held whether it is looked at; None for all.
        """
        return self._find(rows, threshold, among, reverse=False)

    def find_to(self, rows: Floats, threshold: float, among: NDArray[np.bool_] | None = None) -> Pairs:
        """As `find`, but the rows held are the queries, and the rows given the members."""
        return self._find(rows, threshold, among, reverse=True)

    def _find(self, rows: Floats, threshold: float, among: NDArray[np.bool_] | None, *, reverse: bool) -> Pairs:
        near = [Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        for first in range(0, len(rows), QUERIES):
            given = self._given(rows[first : first + QUERIES])
            for block, held in enumerate(self._blocks):
                start, end = block * BLOCK, min(self._count, (block + 1) * BLOCK)
                looked_at = np.arange(end - start) if among is None else np.flatnonzero(among[start:end])
                query, member, similarity = _near(given, held, looked_at, np.float32(threshold), reverse=reverse)
                query, member = first + query, start + member
                near.append(Pairs(member, query, similarity) if reverse else Pairs(query, member, similarity))
        query, member, similarity = (np.concatenate(column) for column in zip(*near, strict=True))
        order = np.lexsort((member, query))
        return Pairs(query[order], member[order], similarity[order])

    def _given(self, rows: Floats) -> _Given:
        return _Given(rows, row_norms(rows), self._project(rows))

    def _project(self, rows: Floats) -> NDArray[np.float32]:
        """float32 (n, directions + 1): the projections, and the length of the rest, rounded up."""
        unit = _unit(rows)
        inside = unit @ self._basis
        # The share inside, not one minus it, is what float32 knows well: a rest is never taken as too short.
        rest = np.einsum("ij,ij->i", unit, unit) - np.einsum("ij,ij->i", inside, inside)
        return np.column_stack([inside, np.sqrt(np.maximum(rest, 0) + np.float32(SLACK))]).astype(np.float32)


def _near(
    given: _Given, held: _Given, looked_at: NDArray[np.int64], threshold: np.float32, *, reverse: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Places among the rows given and among those held, and the similarity, of the pairs that are near enough.

    The bound, then a float32 product, then the exact score: each of the pairs that the one before left over.
    """
    few = len(looked_at) < BLOCK
    bounds = given.projection @ (held.projection[looked_at] if few else held.projection).T
    row, column = np.divmod(np.flatnonzero(bounds >= threshold - np.float32(MARGIN)), max(1, len(looked_at)))
    place = looked_at[column]
    error = max(MARGIN, 2 * (given.rows.shape[1] + 8) * 2.0**-24)
    keep = _products(given, held, row, place, bounds.size) >= threshold - np.float32(2 * error)
    row, place = row[keep], place[keep]
    similarity = np.empty(len(row), np.float32)
    for first in range(0, len(row), PAIRS):
        chunk = slice(first, first + PAIRS)
        distinct, of = np.unique(place[chunk], return_inverse=True)
        rows, norms = held.rows[distinct], held.norms[distinct]
        if reverse:
            similarity[chunk] = exact_pairs(rows, norms, _unit(given.rows), of, row[chunk])
        else:
            similarity[chunk] = exact_pairs(given.rows, given.norms, _unit(rows), row[chunk], of)
    is_near = similarity >= threshold
    return row[is_near], place[is_near], similarity[is_near]


def _products(
    given: _Given, held: _Given, row: NDArray[np.int64], place: NDArray[np.int64], of: int
) -> NDArray[np.float32]:
    """The cosines of some pairs of `of`, each within rounding: a float32 sum errs by d x 2^-24, lengths by as much."""
    rows = widen(given.rows) / _divisors(given.norms)[:, None]
    if len(row) * DENSE > of:
        distinct, column = np.unique(place, return_inverse=True)
        others = widen(held.rows[distinct]) / _divisors(held.norms[distinct])[:, None]
        return np.asarray((rows @ others.T)[row, column])
    products = np.empty(len(row), np.float32)
    step = max(1, NUMBERS // rows.shape[1])
    for first in range(0, len(row), step):
        chunk = slice(first, first + step)
        others = widen(held.rows[place[chunk]])
        products[chunk] = np.vecdot(rows[row[chunk]], others) / _divisors(held.norms[place[chunk]])
    return products


def _divisors(norms: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.where(norms > 0, norms, 1.0).astype(np.float32)


def _unit(rows: Floats) -> NDArray[np.float32]:
    """Rows at unit length; those of no length stay so."""
    return unit_rows(rows, row_norms(rows))[0].astype(np.float32)
