"""The exact search by many workers: thresholds, scans anywhere, one answer.

    some parts -> a threshold per centroid -> every part scanned for the rows above it -> merge
    too few rows above a centroid's threshold -> a lower one, and a scan for that centroid again

The answer is that of `best_rows`, whatever the thresholds, the workers and their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search.pool import Floats
from curator.search.scan import check_centroids, scan_part
from curator.search.top_k import NO_ROW, Cursors, TopK, TopKMerger

__all__ = ["DistributedScan", "Scan", "ScanTask", "scan_parts"]

SAMPLE_PARTS = 4
"""Read on the driver before each pass, for the thresholds."""
SAMPLE_WORTH = 4
"""A pool of fewer than this many times `SAMPLE_PARTS` is scanned without thresholds."""
MOST_PARTS = 64
"""In one task: what a lost worker costs."""
TASKS_PER_WORKER = 4
"""At least, so that all end at about the same time."""


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Parts to scan, and what for.

    Attributes:
        parts: their numbers.
        lines: int64, which centroids are asked for.
        cursors: where these stand.
        lower_bound: float32, scores below which rows are not wanted, one for each of these.
        k: most rows per centroid.
    """

    parts: tuple[int, ...]
    lines: NDArray[np.int64]
    cursors: Cursors
    lower_bound: NDArray[np.float32]
    k: int

    def __repr__(self) -> str:
        return f"the search of parts {self.parts[0]} to {self.parts[-1]}"


Scan: TypeAlias = Callable[[Iterable[ScanTask]], Iterable[TopK]]
"""Runs `scan_parts` for every task, anywhere and in any order. Takes tasks late: later ones ask for less."""

Read: TypeAlias = Callable[[int], Floats]
"""A part's number to its rows, float16 or float32 (n, d)."""


def scan_parts(task: ScanTask, read: Read, centroids: Floats, report: Callable[[int], None]) -> TopK:
    """A worker's share: the best rows of some parts, merged.

    Args:
        task: which parts, and what for.
        read: gives their rows.
        centroids: float32 (K, d), all of them.
        report: told of the rows of each part.
    """
    wanted = centroids[task.lines]
    found = TopKMerger(len(wanted), task.k)
    for part in task.parts:
        rows = read(part)
        lower_bound = np.maximum(task.lower_bound, found.lower_bound)
        found.add(scan_part(part, rows, wanted, task.k, task.cursors, lower_bound))
        report(len(rows))
    return found.merged()


@dataclass(frozen=True, slots=True)
class DistributedScan:
    """A `Fetch` for `run_rounds` that reads the pool by many workers.

    Memory on the driver as for `best_rows`, whatever the number of parts: what comes back in all is little more
    than the answer.

    Attributes:
        scan: runs the tasks.
        read: gives a part's rows, for the thresholds.
        parts: numbers of all parts of the pool.
        rows: of all of them.
        centroids: float32 (K, d).
        workers: how many scan at the same time.
    """

    scan: Scan
    read: Read
    parts: Sequence[int]
    rows: int
    centroids: NDArray[np.float32]
    workers: int

    def __call__(self, cursors: Cursors, k: int) -> TopK:
        """The best `k` rows of the pool strictly after each centroid's cursor."""
        check_centroids(self.centroids)
        lines = np.arange(len(self.centroids))
        lower_bound = self._thresholds(cursors, k)
        found = self._pass(lines, cursors, lower_bound, k)
        # Where the sampled parts promised more than there is. Without a threshold nothing is missed.
        short = np.flatnonzero((found.counts < np.minimum(k, found.eligible)) & np.isfinite(lower_bound))
        if len(short) == 0:
            return found
        some = Cursors(cursors.scores[short], cursors.ids[short])
        lower = np.full(len(short), -np.inf, np.float32)
        return _replaced(found, short, self._pass(short, some, lower, k))

    def _thresholds(self, cursors: Cursors, k: int) -> NDArray[np.float32]:
        """Per centroid, a score that about `k` rows after its cursor reach, going by some parts."""
        none = np.full(len(self.centroids), -np.inf, np.float32)
        if len(self.parts) < SAMPLE_WORTH * SAMPLE_PARTS:
            return none
        sample = [self.parts[place] for place in np.linspace(0, len(self.parts) - 1, SAMPLE_PARTS).astype(int)]
        blocks = [(part, self.read(part)) for part in sample]
        seen = sum(len(rows) for _, rows in blocks)
        wanted = k * seen / max(self.rows, 1)
        # Aims at half as many more, because parts differ, and at three deviations of a count more.
        rank = math.ceil(1.5 * wanted + 3 * math.sqrt(wanted)) + 3
        if rank >= k:
            return none
        found = TopKMerger(len(self.centroids), rank)
        for part, rows in blocks:
            found.add(scan_part(part, rows, self.centroids, rank, cursors, found.lower_bound))
        return found.merged().lower_bound

    def _pass(self, lines: NDArray[np.int64], cursors: Cursors, lower_bound: NDArray[np.float32], k: int) -> TopK:
        found = TopKMerger(len(lines), k)

        def tasks() -> Iterator[ScanTask]:
            for parts in self._groups():
                # What is known by now spares later workers the rows that could not enter.
                yield ScanTask(parts, lines, cursors, np.maximum(lower_bound, found.lower_bound), k)

        for queues in self.scan(tasks()):
            found.add(queues)
        return found.merged()

    def _groups(self) -> Iterator[tuple[int, ...]]:
        size = min(MOST_PARTS, max(1, len(self.parts) // (TASKS_PER_WORKER * self.workers)))
        for start in range(0, len(self.parts), size):
            yield tuple(self.parts[start : start + size])


def _replaced(found: TopK, lines: NDArray[np.int64], better: TopK) -> TopK:
    """TopK with some lines from a second pass."""
    width = max(found.scores.shape[1], better.scores.shape[1])
    scores = np.full((len(found.counts), width), -np.inf, np.float32)
    ids = np.full((len(found.counts), width), NO_ROW, np.int64)
    counts = found.counts.copy()
    scores[:, : found.scores.shape[1]], ids[:, : found.ids.shape[1]] = found.scores, found.ids
    scores[lines, : better.scores.shape[1]], ids[lines, : better.ids.shape[1]] = better.scores, better.ids
    counts[lines] = better.counts
    return replace(found, scores=scores, ids=ids, counts=counts)
