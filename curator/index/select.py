"""SimCore over an index: read few lists, select, measure, and read more lists if they were too few."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError, UnusableInput
from curator.index.contents import Contents
from curator.index.lists import Lists
from curator.index.recall import Recall, Sample, clopper_pearson
from curator.index.scan import ScanLists, scan_in_this_thread
from curator.search import Cursors, Floats, QueryScan, TopK, check_centroids
from curator.selection import ReadRows, Rules, Selection, StopReason, first_k, k_limit, no_filter, run_rounds
from curator.types import Progress

__all__ = ["IndexSearch", "select_ivf"]

# The first lists are read by the lower bounds of a sample. These are rough, so no higher recall is read by them.
FIRST_RECALL = 0.97
# Before a selection is made anew, at most so many times the rows are read that were read before.
STEP = 1.5
# The least number of rows kept for each centroid of an index that holds codes.
CODED_K = 64


class IndexSearch:
    """Reads the lists of an index for a selection, and keeps the best rows of those that were read.

    Args:
        contents: the index, of one piece at least.
        centroids: float32 (K, d), unit rows.
        k: the number of rows that are kept for each centroid.
        new_scan: makes of centroids what reads the rows of the pieces for them.
        progress: is told of the rows read.

    Attributes:
        lists: the lists of the index.
        centroids: float32 (K, d).
        read: bool (lists,), True for the lists that were read.
        sample: the rows that were put aside when the index was built.
    """

    def __init__(
        self,
        contents: Contents,
        centroids: NDArray[np.float32],
        k: int,
        new_scan: Callable[[Floats], ScanLists],
        progress: Progress | None = None,
    ) -> None:
        check_centroids(centroids)
        if not contents.pieces:
            raise UnusableInput("the index holds no rows", advice="build the index first")
        if centroids.shape[1] != contents.quantiser.centroids.shape[1]:
            raise UnusableInput("index and target have different dimensions", advice="embed both with the same encoder")
        self._new_scan = new_scan
        self.lists = Lists(contents, new_scan(centroids))
        self.centroids = centroids
        self.read = np.zeros(len(self.lists.sizes), bool)
        self.sample = Sample(contents.sample(), centroids)
        self._upper_bounds = self.lists.upper_bounds(centroids)
        self._k = k
        self._best = TopK.empty(len(centroids), k)
        self._progress = progress

    def fetch(self, lines: NDArray[np.int64], cursors: Cursors, k: int) -> TopK:
        """The best rows after the cursors in the lists read so far: a `Fetch` for `run_rounds`."""
        if k == self._k and not np.isfinite(cursors.scores).any():
            return self._best
        return self.lists.scan(self.read, k, cursors, scan_lists=self._new_scan(self.centroids[lines]))

    def answer(self, queries: QueryScan) -> None:
        """Find the best rows of some queries in the lists read so far.

        Those that are centroids cost nothing, for the others the lists are read again.
        """
        queries.begin(self.centroids, self._k)
        if left := len(queries.left):
            start, scan_lists = Cursors.start(left), self._new_scan(queries.left)
            queries.add(self.lists.scan(self.read, queries.k, start, scan_lists=scan_lists))
        queries.end(self._best)

    def add(self, lists: NDArray[np.bool_]) -> None:
        """Read these lists too; bool (lists,)."""
        unread = lists & ~self.read
        self._best = self.lists.scan(unread, self._k, Cursors.start(len(self.centroids)), self._best)
        self.read |= lists
        if self._progress:
            self._progress({"rows": int(self.lists.sizes[unread].sum())})

    def possible(self, lower_bounds: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The lists that may hold a row at or above the lower bound of a centroid; bool (lists,)."""
        return np.asarray(np.any(self._upper_bounds >= lower_bounds[:, None], axis=0))

    def needed(self, lower_bounds: NDArray[np.float32], recall: float) -> NDArray[np.bool_]:
        """The unread lists to read for this recall, by the calibrating half of the sample; bool (lists,).

        Args:
            lower_bounds: float32 (K,), the scores at and above which rows are relevant.
            recall: the share of the relevant rows to read.
        """
        useful = self.possible(lower_bounds) & ~self.read
        lists = self.sample.to_calibrate(lower_bounds)
        if recall >= 1 or not len(lists):
            return useful
        # Lists that were read for other lower bounds count too, so they come first.
        order = self._order(lower_bounds, useful)
        order = np.concatenate([order[self.read[order]], order[~self.read[order]]])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        last = np.sort(rank[lists])[math.ceil(recall * len(lists)) - 1]
        if self.read.any():
            last = min(last, self._step(order))
        needed = np.zeros(len(order), bool)
        needed[order[: last + 1]] = True
        return needed & useful

    def _step(self, order: NDArray[np.int64]) -> int:
        """The place in an order, read lists first, up to which to read before the lower bounds are computed anew.

        A centroid whose nearest lists are not read has far too low a bound, at which all lists would matter.
        """
        rows = np.cumsum(self.lists.sizes[order])
        read = int(self.read.sum())
        return max(read, int(np.searchsorted(rows, STEP * rows[read - 1])))

    def double(self) -> NDArray[np.bool_]:
        """The nearest unread lists, as many as were read; bool (lists,)."""
        unread = ~self.read & (self.lists.sizes > 0)
        order = self._order(self.sample.least(), unread)
        more = np.zeros(len(self.read), bool)
        more[order[: max(1, int(self.read.sum()))]] = True
        return more & unread

    def _order(self, lower_bounds: NDArray[np.float32], first: NDArray[np.bool_]) -> NDArray[np.int64]:
        """All lists: those of the mask `first` by nearness to the lower bounds, then the others."""
        nearness = np.where(first, self.lists.nearness(self.centroids, lower_bounds), -np.inf)
        return np.argsort(-nearness, kind="stable")

    def unread(self) -> bool:
        """True if there is a row that was not read."""
        return bool((self.lists.sizes[~self.read] > 0).any())

    def measure(self, lower_bounds: NDArray[np.float32], extensions: int) -> Recall:
        """The recall at the final lower bounds, on the measuring half of the sample."""
        lists = self.sample.to_measure(lower_bounds)
        hits = int(self.read[lists].sum())
        proven = not (self.possible(lower_bounds) & ~self.read).any()
        low, high = (1.0, 1.0) if proven else clopper_pearson(hits, len(lists))
        rows_read = int(self.lists.sizes[self.read].sum()) + int((~self.read[self.sample.given]).sum())
        return Recall(
            estimate=1.0 if proven else hits / len(lists) if len(lists) else None,
            low=low,
            high=high,
            relevant=len(lists),
            hits=hits,
            proven=proven,
            scanned=rows_read / max(self.lists.rows, 1),
            lists_read=int(self.read.sum()),
            lists=len(self.read),
            extensions=extensions,
        )


def select_ivf(
    contents: Contents,
    centroids: NDArray[np.float32],
    rules: Rules,
    *,
    recall: float,
    new_scan: Callable[[Floats], ScanLists] | None = None,
    read_rows: ReadRows | None = None,
    queries: QueryScan | None = None,
    progress: Progress | None = None,
) -> tuple[Selection, Recall]:
    """The coreset of an indexed pool, and how much of what it needed was read.

    Lists are read in order of nearness until the calibrating half of the sample says that the given share of the
    relevant rows is among them: of those at or above the lower bound of a centroid. The first lists are read by the
    lower bounds of a selection from that half, the others, step by step, by those of the selection itself. It is made
    anew whenever more lists are read, so that rows read late take the same places as rows read early; with a filter
    only once the lists are read that a selection without it needs.

    Args:
        contents: the index.
        centroids: float32 (K, d), unit rows, from `find_centroids`.
        rules: the limits; `k` counts for all passes here. Every selection that is made anew makes its own filter.
        recall: the share of the relevant rows to read, above 0 and at most 1. At 1 every list is read that the
            upper bounds do not rule out, and the selection is the exact one.
        new_scan: makes of centroids what reads the rows of the pieces for them, for instance by many workers; None
            for this thread.
        read_rows: reads the pool's rows by id, for this thread; needed where the index holds codes.
        queries: rows whose best pool rows are wanted, too: the best in the lists that the selection needed.
        progress: told of the rows read and chosen.

    Returns:
        the selection, whose scores and order are exact for the rows that were read, and the measured recall.
        The pool is called exhausted only when all of it was read.

    Raises:
        InputError: `recall` is out of its range.
        UnusableInput: the index is empty, or index and centroids do not fit each other.
    """
    if not 0 < recall <= 1:
        raise InputError("it is a share above 0 and at most 1", field="recall", value=recall)
    clusters = len(centroids)
    k = min(rules.k or (_coded_k if contents.codec else first_k)(clusters, rules.budget), k_limit(clusters))

    def scan_for(vectors: Floats) -> ScanLists:
        return new_scan(vectors) if new_scan else scan_in_this_thread(contents.codec, vectors, read_rows)

    search = IndexSearch(contents, centroids, k, scan_for, progress)
    # How many rows a stop rule takes is not known before, so the first round must do.
    share = (rules.budget or 0) / max(search.lists.rows, 1) if rules.stop is None else 0.0
    search.add(search.needed(search.sample.first_lower_bounds(share), min(recall, FIRST_RECALL)))
    extensions = chosen = 0
    rules = replace(rules, k=k)
    # A filter costs more than the rest of a selection: most of the lists are found without it.
    drafts = [] if rules.new_filter is no_filter else [replace(rules, new_filter=no_filter)]
    for own in [*drafts, rules]:
        while True:
            if progress:
                progress({"chosen": -chosen})
            selection = run_rounds(search.fetch, clusters, own, progress)
            chosen = len(selection)
            bounds = selection.lower_bounds
            more = search.double() if bounds is None else search.needed(bounds, recall)
            if not more.any():
                break
            search.add(more)
            extensions += 1
    measured = search.measure(np.full(clusters, -np.inf, np.float32) if bounds is None else bounds, extensions)
    if queries is not None:
        search.answer(queries)
    assert selection.stop_reason is not StopReason.POOL_EXHAUSTED or not search.unread()
    return replace(selection, candidates=search.lists.rows, anchor_rows=centroids), measured


def _coded_k(clusters: int, budget: int | None) -> int:
    """As `first_k`, but fewer rows where few are chosen, since each kept row costs a read of the pool."""
    return min(first_k(clusters, budget), max(CODED_K, 16 * -(-(budget or 0) // clusters)))
