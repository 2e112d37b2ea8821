"""SimCore over an index: read few lists, select, measure, and read more where that was not enough."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.index.lists import Lists
from curator.index.quantiser import Quantiser
from curator.index.recall import Recall, Sample, clopper_pearson
from curator.index.scan import Scan, scan_here
from curator.index.shards import IndexPiece
from curator.search.scan import check_centroids
from curator.search.top_k import Cursors, TopK
from curator.selection.frontier import first_k, k_limit
from curator.selection.near_duplicate_filters import ReadRows
from curator.selection.result import Selection, StopReason
from curator.selection.rounds import run_rounds
from curator.selection.rules import Rules
from curator.types import Progress

__all__ = ["IndexSearch", "select_ivf"]


FIRST_RECALL = 0.97
"""The first lists are read by cuts of a sample. They are rough: the last percents are not bought by them."""
STEP = 1.5
"""How many times the rows read so far may be read before a selection is made anew."""
CODED_K = 64
"""Rows per centroid kept, at least, of an index that holds codes."""


class IndexSearch:
    """Reads the lists of an index on behalf of a selection; those once read stay in the queues.

    Args:
        quantiser: of the index.
        shards: of the index, at least one.
        centroids: float32 (K, d), unit rows.
        k: rows per centroid kept from the first reading on.
        scan: reads the shards' rows.
        progress: told of the rows read.
    """

    def __init__(
        self,
        quantiser: Quantiser,
        shards: list[IndexPiece],
        centroids: NDArray[np.float32],
        k: int,
        scan: Scan,
        progress: Progress | None = None,
    ) -> None:
        check_centroids(centroids)
        if not shards:
            raise InputError("the index holds no rows: run `curator index` first")
        if centroids.shape[1] != quantiser.centroids.shape[1]:
            raise InputError("index and target have different dimensions: embed both with the same encoder")
        self.lists = Lists(quantiser, shards, scan)
        self.centroids = centroids
        self.read = np.zeros(len(self.lists.sizes), bool)
        self.sample = Sample(
            np.concatenate([shard.sample for shard in shards]),
            np.concatenate([shard.sample_lists for shard in shards]),
            centroids,
        )
        self._bounds = self.lists.bounds(centroids)
        self._k = k
        self._best = TopK.empty(len(centroids), k)
        self._progress = progress

    def fetch(self, cursors: Cursors, k: int) -> TopK:
        """The best rows after the cursors in the lists read so far: a `Fetch` for `run_rounds`."""
        if k == self._k and not np.isfinite(cursors.scores).any():
            return self._best
        return self.lists.scan(self.read, k, cursors)

    def add(self, wanted: NDArray[np.bool_]) -> None:
        """Read these lists too; bool (lists,)."""
        start, before = Cursors.start(len(self.centroids)), self.read.copy()
        self._best = self.lists.scan(wanted & ~self.read, self._k, start, self._best)
        self.read |= wanted
        if self._progress:
            self._progress({"rows": int(self.lists.sizes[wanted & ~before].sum())})

    def possible(self, cuts: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Lists of which the bounds do not prove that every row lies below all cuts; bool (lists,)."""
        return np.asarray(np.any(self._bounds >= cuts[:, None], axis=0))

    def needed(self, cuts: NDArray[np.float32], recall: float) -> NDArray[np.bool_]:
        """The unread lists to read for a recall at these cuts, by the calibrating half of the sample; bool (lists,)."""
        useful = self.possible(cuts) & ~self.read
        rows = self.sample.to_calibrate(cuts)
        if recall >= 1 or not len(rows):
            return useful
        # Lists read at other cuts count too: they come first.
        order = self._order(cuts, useful)
        order = np.concatenate([order[self.read[order]], order[~self.read[order]]])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        last = np.sort(rank[rows])[math.ceil(recall * len(rows)) - 1]
        if self.read.any():
            last = min(last, self._step(order))
        needed = np.zeros(len(order), bool)
        needed[order[: last + 1]] = True
        return needed & useful

    def _step(self, order: NDArray[np.int64]) -> int:
        """The place in an order, read lists first, up to which to read before the cuts are looked at again.

        A centroid whose nearest lists are not read has far too low a cut, and by that cut all lists matter.
        """
        held = np.cumsum(self.lists.sizes[order])
        read = int(self.read.sum())
        return max(read, int(np.searchsorted(held, STEP * held[read - 1])))

    def double(self) -> NDArray[np.bool_]:
        """As many lists again as were read, the most promising ones; bool (lists,)."""
        unread = ~self.read & (self.lists.sizes > 0)
        order = self._order(self.sample.least(), unread)
        more = np.zeros(len(self.read), bool)
        more[order[: max(1, int(self.read.sum()))]] = True
        return more & unread

    def _order(self, cuts: NDArray[np.float32], among: NDArray[np.bool_]) -> NDArray[np.int64]:
        """All lists, the most promising of `among` first."""
        promise = np.where(among, self.lists.promise(self.centroids, cuts), -np.inf)
        return np.argsort(-promise, kind="stable")

    def unread(self) -> bool:
        """Whether any row was not read."""
        return bool((self.lists.sizes[~self.read] > 0).any())

    def measure(self, cuts: NDArray[np.float32], deepened: int) -> Recall:
        """The recall at final cuts, on the measuring half of the sample."""
        rows = self.sample.to_measure(cuts)
        hits = int(self.read[rows].sum())
        proven = not (self.possible(cuts) & ~self.read).any()
        low, high = (1.0, 1.0) if proven else clopper_pearson(hits, len(rows))
        estimate = 1.0 if proven else hits / len(rows) if len(rows) else None
        read = int(self.lists.sizes[self.read].sum()) + int((~self.read[self.sample.lists]).sum())
        return Recall(
            estimate,
            low,
            high,
            len(rows),
            hits,
            proven,
            read / max(self.lists.rows, 1),
            int(self.read.sum()),
            len(self.read),
            deepened,
        )


def select_ivf(
    quantiser: Quantiser,
    shards: list[IndexPiece],
    centroids: NDArray[np.float32],
    rules: Rules,
    *,
    recall: float,
    scan: Scan | None = None,
    read_rows: ReadRows | None = None,
    progress: Progress | None = None,
) -> tuple[Selection, Recall]:
    """The coreset of an indexed pool, and how much of what it needed was read.

    Lists are read in order of promise until the calibrating sample says that the wanted share of the rows at
    or above each centroid's cut is among them. The first are read by the cuts of a selection from that sample,
    the others, step by step, by those of the selection itself: it is made anew whenever more lists are read, so
    no row that turns up late is placed late.

    Args:
        quantiser: of the index.
        shards: of the index, opened.
        centroids: float32 (K, d), unit rows, from `find_centroids`.
        rules: the limits; `k` counts for all passes here. Every selection that is made anew makes its own filter.
        recall: wanted share, above 0 and at most 1. At 1 every list is read that the bounds of its angles do
            not rule out, and the selection is the exact one.
        scan: reads the shards' rows, such as many workers; None for this thread.
        read_rows: reads the pool's rows by id, for this thread; needed where the index holds codes.
        progress: told of the rows read and chosen.

    Returns:
        the selection, whose scores and order are exact for the rows that were read, and the measured recall.
        The pool is called exhausted only when all of it was read.

    Raises:
        InputError: an argument is out of its range, or index and centroids do not fit each other.
    """
    if not 0 < recall <= 1:
        raise InputError(f"recall is a share above 0 and at most 1, not {recall}")
    clusters = len(centroids)
    coded = any(shard.codec for shard in shards)
    k = min(rules.k or (_coded_k if coded else first_k)(clusters, rules.budget), k_limit(clusters))
    search = IndexSearch(quantiser, shards, centroids, k, scan or scan_here(shards, centroids, read_rows), progress)
    # How much a stop rule takes is not known before: the first round must do.
    share = (rules.budget or 0) / max(search.lists.rows, 1) if rules.stop is None else 0.0
    search.add(search.needed(search.sample.first_cuts(share), min(recall, FIRST_RECALL)))
    deepened = 0
    while True:
        selection = run_rounds(search.fetch, clusters, replace(rules, k=k), progress)
        bounds = selection.lower_bounds
        more = search.double() if bounds is None else search.needed(bounds, recall)
        if not more.any():
            break
        search.add(more)
        deepened += 1
    measured = search.measure(np.full(clusters, -np.inf, np.float32) if bounds is None else bounds, deepened)
    assert selection.stop_reason is not StopReason.POOL_EXHAUSTED or not search.unread()
    return replace(selection, candidates=search.lists.rows, anchor_rows=centroids), measured


def _coded_k(clusters: int, budget: int | None) -> int:
    """As `first_k`, for queues each row of which costs a read of the pool: fewer rows where few are chosen."""
    return min(first_k(clusters, budget), max(CODED_K, 16 * -(-(budget or 0) // clusters)))
