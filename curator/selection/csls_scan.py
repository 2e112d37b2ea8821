"""Density-corrected scores of a pool's rows, exactly, and the best of them for each target row.

    score = 2 x best similarity to a target row - density

in the half-whitened space of the pool (`curator.selection.half_whitened`); density is the mean of the `NEIGHBOURS` best
similarities to a sample of the pool. A row that is near to everything is near to the target, too, and means little by
it. After Lample, Conneau, Ranzato, Denoyer, Jegou: "Word translation without parallel data", ICLR 2018, section 2.3.

A row counts for the target row that it is most similar to, the lowest of several, and for no other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curator.float16 import widen
from curator.search import (
    BLOCK_ROWS,
    Cursors,
    Floats,
    TopK,
    TopKMerger,
    blocks,
    check_finite,
    check_rows,
    exact_pairs,
    margin,
    ranked,
    row_norms,
)
from curator.selection.half_whitened import HalfWhitened

__all__ = ["CslsScan"]

NEIGHBOURS = 20
# Rows of the sample that a first look at a row's density takes: this many for each neighbour.
FIRST_LOOK = 20
# Room for the rounding of the few sums between similarities and a score.
ROUNDING = 1e-5


@dataclass(frozen=True)
class CslsScan:
    """A `RowScan` with a line for each target row: the rows that count for it, by density-corrected score.

    The `eligible` rows of its top-k are an upper bound: which line a row counts for is found out only where it matters.

    Attributes:
        space: of the pool.
        targets: float32 (T, m), the distinct target rows in that space.
        sample: float32 (S, m), the sample that density is measured by.
        sample_ids: int64 (S,), ids of the sample's rows, ascending: none is its own neighbour.
        kept: int64 (lines,), the target rows that have a line.
    """

    space: HalfWhitened
    targets: NDArray[np.float32]
    sample: NDArray[np.float32]
    sample_ids: NDArray[np.int64]
    kept: NDArray[np.int64]

    @classmethod
    def of(cls, space: HalfWhitened, targets: Floats, sample: Floats, sample_ids: NDArray[np.int64]) -> CslsScan:
        """A line for every target row, float16 or float32 (T, d); likewise the sample, (S, d), with ascending ids."""
        placed = space.place(targets)
        return cls(space, placed, space.place(sample), sample_ids, np.arange(len(placed)))

    @property
    def lines(self) -> int:
        """T, or as many as were taken."""
        return len(self.kept)

    @cached_property
    def first_look(self) -> tuple[int, NDArray[np.float32]]:
        """Rows of the sample for a first look at a row's density: every how many are taken, and these."""
        seen = NEIGHBOURS * FIRST_LOOK
        step = len(self.sample) // seen
        return step, np.ascontiguousarray(self.sample[: step * seen : step])

    def take(self, lines: NDArray[np.int64]) -> CslsScan:
        """The same for some of the lines."""
        return replace(self, kept=self.kept[lines])

    def scan(
        self,
        part: int,
        rows: Floats,
        k: int,
        cursors: Cursors,
        lower_bound: NDArray[np.float32],
        total: int | None = None,
    ) -> TopK:
        """The best rows of one part: see `RowScan.scan`.

        Cost 2nm(d + T) and 2nm x 400 for a first look at the density; for rows that may be among the best 2m x S more
        and some 1,000 exact products.
        """
        check_rows(part, rows, len(self.space.mean))
        merger = TopKMerger(self.lines, k, total)
        for first, block in blocks(part, rows, len(self.targets) + NEIGHBOURS * FIRST_LOOK, BLOCK_ROWS):
            merger.add(self._scan_block(first, block, k, cursors, np.maximum(lower_bound, merger.lower_bound)))
        return merger.merged()

    def reached_by(self, count: int, rows: Floats, cursors: Cursors) -> None:
        """Not known without the densities of all of these rows."""

    def _scan_block(self, first: int, rows: Floats, k: int, cursors: Cursors, lower_bound: NDArray[np.float32]) -> TopK:
        wide = widen(rows)
        norms = row_norms(wide)
        check_finite(first, norms)
        look = _Look(self, first, *self.space.propose(wide, norms), self._least(cursors, lower_bound))
        listed = look.shortlist()
        scores, target_of = look.exact(self.space.place(rows[listed]), listed)
        line_of = np.full(len(self.targets), -1, np.int64)
        line_of[self.kept] = np.arange(self.lines)
        lines = line_of[target_of]
        order = np.flatnonzero(lines >= 0)
        order = order[np.argsort(lines[order], kind="stable")]
        none = np.zeros(self.lines, np.int64)
        ids = first + listed[order]
        return ranked(lines[order], scores[order], ids, none, len(rows), k, cursors, lower_bound)

    def _least(self, cursors: Cursors, lower_bound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Per target row, float32 (T,), the least score of use: infinite where it has no line, or one at its end."""
        least = np.full(len(self.targets), np.inf, np.float32)
        least[self.kept] = np.where(np.isneginf(cursors.scores), np.float32(np.inf), lower_bound)
        return least


class _Look:
    """A block of rows as float32 matrix products show it.

    Args:
        scan: what they are compared with.
        first: id of the block's first row.
        unit: float32 (n, m), their proposed coordinates.
        errors: float32 (n,), how far off these are.
        least: float32 (T,), the least score of use for each target row.
    """

    def __init__(
        self, scan: CslsScan, first: int, unit: NDArray[np.float32], errors: Floats, least: NDArray[np.float32]
    ) -> None:
        self._scan = scan
        self._unit = unit
        self._least = least
        # A unit row that is off by so much changes a dot product with another unit row by no more.
        self._errors = errors + np.float32(max(margin(scan.targets), margin(scan.sample)))
        self._near = scan.targets @ unit.T
        self._best = self._near.max(axis=0)
        low, high = np.searchsorted(scan.sample_ids, [first, first + len(unit)])
        # Column of the sample that is the row itself; -1 for most.
        self._own = np.full(len(unit), -1, np.int64)
        self._own[scan.sample_ids[low:high] - first] = np.arange(low, high)

    def shortlist(self) -> NDArray[np.int64]:
        """The rows of the block that may have a score of use, ascending."""
        listed = np.arange(len(self._best))
        floor = self._least.min()
        if np.isneginf(floor):
            return listed
        if len(self._scan.sample) >= NEIGHBOURS * FIRST_LOOK:
            listed = self._useful(listed, self._first_density(), floor)
        if len(listed) and len(self._scan.sample) > NEIGHBOURS:
            listed = self._useful(listed, self._density(listed), self._least_of(listed))
        return listed

    def _useful(self, rows: NDArray[np.int64], density: Floats, least: Floats) -> NDArray[np.int64]:
        """Those rows whose score, of a density that is known from below, may come up to the least."""
        highest = 2 * self._best[rows] - density + 3 * self._errors[rows] + np.float32(ROUNDING)
        useful: NDArray[np.int64] = rows[highest >= least]
        return useful

    def _first_density(self) -> NDArray[np.float32]:
        """A number that no row's proposed density is below, float32 (n,).

        Of some rows of the sample, in as many groups as there are neighbours, the best of each group. Their mean is at
        most that of the best of all.
        """
        step, sample = self._scan.first_look
        similarity = sample @ self._unit.T
        own = np.flatnonzero((self._own >= 0) & (self._own % step == 0) & (self._own < step * len(sample)))
        similarity[self._own[own] // step, own] = -np.inf
        density: NDArray[np.float32] = similarity.reshape(FIRST_LOOK, NEIGHBOURS, -1).max(axis=0).mean(axis=0)
        return density

    def _density(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The proposed density of some rows, float32."""
        similarity = self._similarity(rows)
        density: NDArray[np.float32] = _largest(similarity, NEIGHBOURS).mean(axis=1)
        return density

    def _similarity(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Proposed similarities of some rows to the sample, float32 (rows, S); -inf to themselves."""
        similarity: NDArray[np.float32] = self._unit[rows] @ self._scan.sample.T
        own = np.flatnonzero(self._own[rows] >= 0)
        similarity[own, self._own[rows[own]]] = -np.inf
        return similarity

    def _rivals(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The target rows that may be the best of some rows, bool (T, rows)."""
        rivals: NDArray[np.bool_] = self._near[:, rows] >= self._best[rows] - 2 * self._errors[rows]
        return rivals

    def _least_of(self, rows: NDArray[np.int64]) -> Floats:
        """The least score of use for some rows, whichever of their rivals is the best."""
        least: Floats = np.where(self._rivals(rows), self._least[:, None], np.float32(np.inf)).min(axis=0)
        return least

    def exact(
        self, placed: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores of some rows, given their coordinates (rows, m): float32; and the target row that each counts for."""
        if len(rows) == 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        norms = row_norms(placed)
        target_of, row_of = np.nonzero(self._rivals(rows))
        similarity = exact_pairs(placed, norms, self._scan.targets, row_of, target_of)
        order = np.lexsort((target_of, -similarity, row_of))
        winners = order[np.flatnonzero(np.diff(row_of[order], prepend=-1))]
        best = similarity[winners].astype(np.float64)
        return (2 * best - self._exact_density(placed, norms, rows)).astype(np.float32), target_of[winners]

    def _exact_density(
        self, placed: NDArray[np.float32], norms: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Per row, float64: the mean of its best similarities, summed from the best; 0 without any neighbour."""
        proposed = self._similarity(rows)
        count = min(NEIGHBOURS, proposed.shape[1])
        if count == 0:
            return np.zeros(len(rows))
        # Every one of the best is within two errors of the proposed last of the best.
        last = _largest(proposed, count).min(axis=1)
        rivals = (proposed >= (last - 2 * self._errors[rows])[:, None]) & (proposed > -np.inf)
        row_of, sample_of = np.nonzero(rivals)
        similarity = exact_pairs(placed, norms, self._scan.sample, row_of, sample_of)
        order = np.lexsort((-similarity, row_of))
        counts = np.bincount(row_of, minlength=len(rows))
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = place < NEIGHBOURS
        table = np.zeros((len(rows), NEIGHBOURS))
        table[row_of[kept], place[kept]] = similarity[order][kept]
        total = np.zeros(len(rows))
        for column in table.T:
            total += column
        density: NDArray[np.float64] = total / np.maximum(np.minimum(counts, NEIGHBOURS), 1)
        return density


def _largest(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The largest numbers of each row, in no order, (n, count)."""
    return np.partition(rows, rows.shape[1] - count, axis=1)[:, rows.shape[1] - count :]
