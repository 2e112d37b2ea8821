"""Choosing in one fixed order, for the selectors without rounds: the smallest (key, id) first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.selection.filters import Filter
from curator.selection.frontier import LEAST_K, k_limit
from curator.selection.result import Rounds, Selection, Skipped, SkippedRow, StopReason, budget_warnings, check_budget
from curator.types import Progress

__all__ = ["Best", "Cursor", "Page", "choose_in_order"]

FILTERED_ROWS = 256
"""Rows that a filter is asked about at once."""

Cursor: TypeAlias = tuple[Any, int]
"""Key and id: rows strictly after it are wanted."""


@dataclass(frozen=True, slots=True)
class Page:
    """The next rows in order.

    Attributes:
        keys: (n,), of whatever type orders them.
        ids: int64 (n,).
        centroids: int32 (n,).
        scores: float32 (n,).
    """

    keys: NDArray[Any]
    ids: NDArray[np.int64]
    centroids: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def concatenate(cls, pages: list[Page]) -> Page:
        """One page of several."""
        return cls(
            np.concatenate([page.keys for page in pages]),
            np.concatenate([page.ids for page in pages]),
            np.concatenate([page.centroids for page in pages]),
            np.concatenate([page.scores for page in pages]),
        )

    def take(self, which: Any) -> Page:
        """Some of the rows, by index, mask or slice."""
        return Page(self.keys[which], self.ids[which], self.centroids[which], self.scores[which])


class Best:
    """Keeps the first `k` rows in order, out of any number of blocks in any order.

    Memory k x about 40 bytes.

    Attributes:
        seen: rows of the pool, counted by the caller.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.seen = 0
        self._pages: list[Page] = []
        self._held = 0
        self._last: Any = None

    @property
    def last_key(self) -> Any:
        """A key that no wanted row exceeds; None while there is room."""
        return self._last

    def add(self, page: Page) -> None:
        """Consider more rows, in any order. The first call fixes the type of the keys; it may add none."""
        self._pages.append(page)
        self._held += len(page)
        if self._held > self.k + max(self.k // 4, 4096):
            self._pages = [self.page()]
            self._held = self.k
            self._last = self._pages[0].keys[-1]

    def page(self) -> Page:
        """The first rows, in order."""
        every = Page.concatenate(self._pages)
        return every.take(np.lexsort((every.ids, every.keys))[: self.k])


Read: TypeAlias = Callable[[Cursor, Best], None]
"""Reads the pool once: adds rows after the cursor, and counts all rows seen."""


def choose_in_order(
    read: Read, start: Cursor, budget: int, row_filter: Filter | None, progress: Progress | None
) -> Selection:
    """The first `budget` rows in order that the filter lets pass.

    Args:
        read: reads the pool; called again where many rows were skipped.
        start: a cursor before every row.
        budget: rows to choose, at least 1.
        row_filter: asked about each row at the moment it would be chosen.
        progress: told of the rows chosen.

    Returns:
        the selection, without rounds.
    """
    check_budget(budget)
    chosen: list[Page] = []
    passed: list[SkippedRow] = []
    cursor, count, read_rows, passes = start, 0, 0, 0
    k = min(budget if row_filter is None else budget + LEAST_K, k_limit(1))
    while True:
        best = Best(k)
        read(cursor, best)
        page = best.page()
        passes += 1
        read_rows += len(page)
        chosen.append(_let_pass(page, row_filter, passed, budget - count))
        count += len(chosen[-1])
        if progress:
            progress({"chosen": len(chosen[-1])})
        if count == budget or read_rows == best.seen:
            return _selection(Page.concatenate(chosen), passed, budget, best.seen, passes, k)
        cursor = (page.keys[-1], int(page.ids[-1]))
        k = min(2 * k, k_limit(1))


def _let_pass(page: Page, row_filter: Filter | None, passed: list[SkippedRow], room: int) -> Page:
    """The first `room` rows of a page that the filter lets pass; those it does not are added to `passed`."""
    if row_filter is None:
        return page.take(slice(room))
    chosen: list[NDArray[np.int64]] = []
    taken, at = 0, 0
    while taken < room and at < len(page):
        # Never more than fit: a filter remembers what it lets pass.
        ids = page.ids[at : at + min(room - taken, FILTERED_ROWS)]
        found = row_filter(ids)
        place, rejection = found or (len(ids), None)
        chosen.append(np.arange(at, at + place))
        taken, at = taken + place, at + place
        if rejection is not None:
            score, centroid = float(page.scores[at]), int(page.centroids[at])
            passed.append(SkippedRow.of(int(page.ids[at]), score, centroid, -1, rejection))
            at += 1
    return page.take(np.concatenate([np.empty(0, np.int64), *chosen]))


def _selection(chosen: Page, passed: list[SkippedRow], budget: int, candidates: int, passes: int, k: int) -> Selection:
    return Selection(
        ids=chosen.ids,
        scores=chosen.scores,
        centroids=chosen.centroids,
        rounds=np.full(len(chosen), -1, np.int32),
        rounds_table=Rounds.build([], [], []),
        skipped=Skipped.build(passed),
        stop_reason=StopReason.BUDGET if len(chosen) == budget else StopReason.POOL_EXHAUSTED,
        stopped_at=None,
        reference_mean=math.nan,
        objective=math.nan,
        candidates=candidates,
        passes=passes,
        k=k,
        warnings=budget_warnings(budget, len(chosen), len(passed), candidates),
    )
