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


class SimilarityJoin:
    """A growing set of rows that finds those near to others.

    Memory per row: its float16 numbers, and 260 bytes. A comparison costs 65 multiplications, and d more for the
    pairs that the bound cannot tell apart.

    Args:
        basis: from `directions`; changes the time, never the result.
    """

    def __init__(self, basis: NDArray[np.float32]) -> None:
        self._basis = basis
        self._rows: list[Floats] = []
        self._projections: list[NDArray[np.float32]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Floats) -> None:
        """Hold more rows, float16 or float32 (n, d)."""
        projections = self._project(rows)
        taken = 0
        while taken < len(rows):
            room = -self._count % BLOCK
            if room == 0:
                self._rows.append(np.empty((BLOCK, rows.shape[1]), rows.dtype))
                self._projections.append(np.empty((BLOCK, projections.shape[1]), np.float32))
                room = BLOCK
            count = min(room, len(rows) - taken)
            place, added = slice(BLOCK - room, BLOCK - room + count), slice(taken, taken + count)
            self._rows[-1][place] = rows[added]
            self._projections[-1][place] = projections[added]
            taken += count
            self._count += count

    def find(self, rows: Floats, threshold: float, start: int = 0) -> Pairs:
        """All pairs of these rows and the rows held from place `start` on with a similarity of at least `threshold`.

        Args:
            rows: float16 or float32 (n, d).
            threshold: compared as float32 with the exact similarity.
            start: the first row held to look at.
        """
        near = [Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        for first in range(0, len(rows), QUERIES):
            queries = rows[first : first + QUERIES]
            norms, projection = row_norms(queries), self._project(queries)
            for block in range(start // BLOCK, len(self._rows)):
                pairs = self._in_block(block, queries, norms, projection, np.float32(threshold), start)
                near.append(Pairs(first + pairs.query, pairs.member, pairs.similarity))
        query, member, similarity = (np.concatenate(column) for column in zip(*near, strict=True))
        order = np.lexsort((member, query))
        return Pairs(query[order], member[order], similarity[order])

    def _in_block(
        self,
        block: int,
        rows: Floats,
        norms: NDArray[np.float64],
        projection: NDArray[np.float32],
        threshold: np.float32,
        start: int,
    ) -> Pairs:
        low, high = max(0, start - block * BLOCK), min(BLOCK, self._count - block * BLOCK)
        bounds = projection @ self._projections[block][low:high].T
        query, member = np.divmod(np.flatnonzero(bounds >= threshold - np.float32(MARGIN)), max(1, high - low))
        member += low
        similarity = np.empty(len(query), np.float32)
        for first in range(0, len(query), PAIRS):
            chunk = slice(first, first + PAIRS)
            distinct, unit_of = np.unique(member[chunk], return_inverse=True)
            unit = _unit(self._rows[block][distinct])
            similarity[chunk] = exact_pairs(rows, norms, unit, query[chunk], unit_of)
        keep = similarity >= threshold
        return Pairs(query[keep], block * BLOCK + member[keep], similarity[keep])

    def _project(self, rows: Floats) -> NDArray[np.float32]:
        """float32 (n, directions + 1): the projections, and the length of the rest, rounded up."""
        unit = _unit(rows)
        inside = unit @ self._basis
        # The share inside, not one minus it, is what float32 knows well: a rest is never taken as too short.
        rest = np.einsum("ij,ij->i", unit, unit) - np.einsum("ij,ij->i", inside, inside)
        return np.column_stack([inside, np.sqrt(np.maximum(rest, 0) + np.float32(SLACK))]).astype(np.float32)


def _unit(rows: Floats) -> NDArray[np.float32]:
    """Rows at unit length; those of no length stay so."""
    return unit_rows(rows, row_norms(rows))[0].astype(np.float32)
