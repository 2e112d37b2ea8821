"""The exact search by many workers: lower bounds, scans anywhere, one answer.

    a sample of the parts -> a lower bound per centroid -> every part scanned for the rows above it -> merge
    queries, if there are any -> scored with the same parts in the same tasks
    too few rows above a centroid's lower bound -> a scan for that centroid again, without one
    kept from another run, or from one that failed -> its parts are not scanned again

The answer is that of `best_rows`, whatever the lower bounds, the workers and their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search.pool import Floats
from curator.search.query_scan import QueryScan
from curator.search.row_scan import RowScan
from curator.search.scan import scan_part
from curator.search.top_k import NO_ROW, Cursors, TopK, TopKMerger

__all__ = ["DistributedScan", "Keeper", "KeptScan", "Question", "Scan", "ScanTask", "Scanned", "scan_parts"]

# Read on the driver before each pass, for the lower bounds: so many rows of a part, and a sixteenth of all, at most.
SAMPLE_PARTS = 4
SAMPLE_ROWS = 16384
SAMPLE_WORTH = 16
# A pool of fewer parts is sampled only where parts are mapped files: of others whole parts would be read twice.
MANY_PARTS = 16
# In one task: what a lost worker costs.
MOST_PARTS = 64
# At least, so that all end at about the same time.
TASKS_PER_WORKER = 4


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Parts to scan, and for which centroids.

    Attributes:
        parts: their numbers.
        centroids: int64, the numbers of the centroids.
        cursors: where these stand.
        lower_bound: float32, scores below which rows are left out, one for each of these.
        k: most rows per centroid.
        total: see `TopKMerger`.
        query_bounds: for each set of queries that the worker holds, float32 (m,), scores below which rows are left out
            and most rows per query; empty where the queries are not to be scored.
    """

    parts: tuple[int, ...]
    centroids: NDArray[np.int64]
    cursors: Cursors
    lower_bound: NDArray[np.float32]
    k: int
    total: int | None = None
    query_bounds: tuple[tuple[NDArray[np.float32], int], ...] = ()

    def __repr__(self) -> str:
        return f"the search of parts {self.parts[0]} to {self.parts[-1]}"


class Scanned(NamedTuple):
    """What a task found.

    Attributes:
        top_k: of its centroids.
        queries: of each set of queries; empty where the task did not ask.
        parts: that were scanned.
    """

    top_k: TopK
    queries: tuple[TopK, ...] = ()
    parts: tuple[int, ...] = ()


class Question(NamedTuple):
    """All that the answer of a scan depends on, but for the pool and the way of scoring.

    Attributes:
        cursors: where each centroid stands.
        k: most rows per centroid. What is kept of a larger one answers a smaller one.
        total: see `TopKMerger`.
        queries: of each set of queries the vectors, float32 (m, d), and most rows per query.
    """

    cursors: Cursors
    k: int
    total: int | None
    queries: tuple[tuple[NDArray[np.float32], int], ...]

    @property
    def is_first(self) -> bool:
        """Whether no centroid has a cursor yet: so the next selection of the same target begins, too."""
        return not bool(np.isfinite(self.cursors.scores).any())


class KeptScan(NamedTuple):
    """What a scan found in some parts.

    Attributes:
        parts: that were scanned.
        top_ks: of the centroids, then of each set of queries.
        lower_bound: float32 (K,), scores below which rows may have been left out; -inf of a scan that was finished.
    """

    parts: frozenset[int]
    top_ks: tuple[TopK, ...]
    lower_bound: NDArray[np.float32]


class Keeper(Protocol):
    """Keeps what scans found: of one that failed for the next run, and of a first one for a pool that has grown."""

    def load(self, question: Question) -> KeptScan | None:
        """What is kept for this question, in parts that all are there still, as they were."""
        ...

    def save(self, question: Question, kept: KeptScan, is_finished: bool) -> None:
        """Keep what a scan found."""
        ...


# Runs `scan_parts` for every task, anywhere and in any order. Takes tasks late: later ones ask for less.
Scan: TypeAlias = Callable[[Iterable[ScanTask]], Iterable[Scanned]]

# A part's number to its rows, float16 or float32 (n, d).
Read: TypeAlias = Callable[[int], Floats]


def scan_parts(
    task: ScanTask,
    read: Read,
    row_scan: RowScan,
    report: Callable[[int], None],
    queries: Sequence[NDArray[np.float32]] = (),
) -> Scanned:
    """A worker's share: the best rows of some parts, merged.

    Args:
        task: the parts, and the centroids.
        read: gives their rows.
        row_scan: scores them, for all centroids.
        report: told of the rows of each part.
        queries: the sets of queries, float32 (m, d), which the task may ask for.
    """
    own = row_scan.take(task.centroids)
    merger = TopKMerger(own.lines, task.k, task.total)
    query_mergers = [TopKMerger(len(bound), k) for bound, k in task.query_bounds]
    # Of a later pass the task has none, though the worker still holds the queries.
    asked = queries if task.query_bounds else ()
    for part in task.parts:
        rows = read(part)
        lower_bound = np.maximum(task.lower_bound, merger.lower_bound)
        merger.add(own.scan(part, rows, task.k, task.cursors, lower_bound, task.total))
        for merged, (bound, k), vectors in zip(query_mergers, task.query_bounds, asked, strict=True):
            lower_bound = np.maximum(bound, merged.lower_bound)
            merged.add(scan_part(part, rows, vectors, k, Cursors.start(len(vectors)), lower_bound))
        report(len(rows))
    return Scanned(merger.merged(), tuple(merged.merged() for merged in query_mergers), task.parts)


@dataclass(frozen=True, slots=True)
class DistributedScan:
    """Reads the pool once, by many workers: see `NewFetch` in `curator.selection.multi_target`.

    Memory on the driver as for `best_rows`, whatever the number of parts: what comes back in all is little more
    than the answer.

    Attributes:
        scan: runs the tasks.
        read: gives a part's rows, for the lower bounds.
        parts: numbers of all parts of the pool.
        rows: the number of rows of all parts.
        row_scan: scores them.
        workers: how many scan at the same time.
        queries: those that have begun, to be scored in the first pass.
        keeper: keeps what was found; None where nothing is kept.
    """

    scan: Scan
    read: Read
    parts: Sequence[int]
    rows: int
    row_scan: RowScan
    workers: int
    queries: Sequence[QueryScan] = ()
    keeper: Keeper | None = None

    def __call__(self, cursors: Cursors, k: int, total: int | None = None) -> TopK:
        """The best `k` rows of the pool strictly after each centroid's cursor; of these the best `total`."""
        question = Question(cursors, k, total, tuple((scan.left, scan.k) for scan in self.queries))
        kept = self.keeper.load(question) if self.keeper else None
        top_k = self._scan(question, kept)
        unbounded = np.full(len(top_k.counts), -np.inf, np.float32)
        # An answer to more than this question is left as it is.
        is_kept = (
            kept is not None and len(kept.parts) == len(self.parts) and np.array_equal(kept.lower_bound, unbounded)
        )
        if self.keeper and not is_kept:
            found = (top_k, *(scan.found for scan in self.queries))
            self.keeper.save(question, KeptScan(frozenset(self.parts), found, unbounded), is_finished=True)
        return top_k

    def _scan(self, question: Question, kept: KeptScan | None) -> TopK:
        every = np.arange(self.row_scan.lines)
        cursors, k = question.cursors, question.k
        # Above what a kept scan had nothing is missing in the parts that were scanned.
        lower_bound = kept.lower_bound if kept else self._lower_bound(cursors, k)
        top_k = self._pass(every, question, lower_bound, self.queries, kept)
        # Where the sampled parts promised more than there is. Without a lower bound nothing is missed.
        short = np.flatnonzero((top_k.counts < np.minimum(k, top_k.eligible)) & np.isfinite(lower_bound))
        if len(short) == 0:
            return top_k
        unbounded = np.full(len(short), -np.inf, np.float32)
        left = question._replace(cursors=Cursors(cursors.scores[short], cursors.ids[short]), queries=())
        again = self._pass(short, left, unbounded)
        return _replaced(top_k, short, again)

    def _lower_bound(self, cursors: Cursors, k: int) -> NDArray[np.float32]:
        """Per centroid, a score that about `k` rows after its cursor reach, judging by a sample of the parts."""
        none = np.full(self.row_scan.lines, -np.inf, np.float32)
        if len(self.parts) < SAMPLE_PARTS:
            return none
        sampled = [self.parts[place] for place in np.linspace(0, len(self.parts) - 1, SAMPLE_PARTS).astype(int)]
        first = self._some_rows(sampled[0])
        if len(self.parts) < MANY_PARTS and not isinstance(first, np.memmap):
            return none
        others = map(self._some_rows, sampled[1:])
        sample = [rows for rows in (first, *others) if rows is not None]
        seen = sum(map(len, sample))
        expected = k * seen / max(self.rows, 1)
        # Aims at half as many more, because parts differ, and at three deviations of a count more.
        count = math.ceil(1.5 * expected + 3 * math.sqrt(expected)) + 3
        if count >= k or seen == 0:
            return none
        reached = self.row_scan.reached_by(count, np.concatenate(sample), cursors)
        return none if reached is None else reached

    def _some_rows(self, part: int) -> Floats | None:
        """Rows all over a part; None if it cannot be read, which is for the scan to tell. Bounds change no answer."""
        try:
            rows = self.read(part)
        except OSError:
            return None
        most = min(SAMPLE_ROWS, self.rows // (SAMPLE_WORTH * SAMPLE_PARTS))
        return rows[:: -(-len(rows) // max(1, most)) or 1]

    def _pass(
        self,
        centroids: NDArray[np.int64],
        question: Question,
        lower_bound: NDArray[np.float32],
        queries: Sequence[QueryScan] = (),
        kept: KeptScan | None = None,
    ) -> TopK:
        cursors, k, total, _ = question
        merger = TopKMerger(len(centroids), k, total)
        done = set(kept.parts) if kept else set[int]()
        for add, top_k in zip([merger.add, *(scan.add for scan in queries)], kept.top_ks if kept else (), strict=False):
            add(top_k)

        def tasks() -> Iterator[ScanTask]:
            for parts in self._groups([part for part in self.parts if part not in done]):
                # What is known by now spares later workers the rows that could not enter.
                bounds = tuple((scan.lower_bound, scan.k) for scan in queries)
                yield ScanTask(parts, centroids, cursors, np.maximum(lower_bound, merger.lower_bound), k, total, bounds)

        try:
            for top_k, query_top_ks, parts in self.scan(tasks()):
                merger.add(top_k)
                for scan, query_top_k in zip(queries, query_top_ks, strict=True):
                    scan.add(query_top_k)
                done.update(parts)
        except Exception:
            # A scan for some of the centroids is no answer for the next run.
            if self.keeper and done and len(centroids) == self.row_scan.lines:
                found = (merger.merged(), *(scan.found for scan in queries))
                self.keeper.save(question, KeptScan(frozenset(done), found, lower_bound), is_finished=False)
            raise
        return merger.merged()

    def _groups(self, parts: Sequence[int]) -> Iterator[tuple[int, ...]]:
        size = min(MOST_PARTS, max(1, len(parts) // (TASKS_PER_WORKER * self.workers)))
        for start in range(0, len(parts), size):
            yield tuple(parts[start : start + size])


def _replaced(top_k: TopK, centroids: NDArray[np.int64], again: TopK) -> TopK:
    """A top-k in which the lines of these centroids are those of a second pass."""
    width = max(top_k.scores.shape[1], again.scores.shape[1])
    scores = np.full((len(top_k.counts), width), -np.inf, np.float32)
    ids = np.full((len(top_k.counts), width), NO_ROW, np.int64)
    counts = top_k.counts.copy()
    scores[:, : top_k.scores.shape[1]], ids[:, : top_k.ids.shape[1]] = top_k.scores, top_k.ids
    scores[centroids, : again.scores.shape[1]], ids[centroids, : again.ids.shape[1]] = again.scores, again.ids
    counts[centroids] = again.counts
    return replace(top_k, scores=scores, ids=ids, counts=counts)
