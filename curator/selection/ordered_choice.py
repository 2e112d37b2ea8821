"""Choosing in one fixed order, for the selectors without rounds: the smallest (key, id) first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.selection.filters import AHEAD_ROWS, FILTERED_ROWS, Filter
from curator.selection.frontier import LEAST_K, k_limit
from curator.selection.not_chosen import NEXT_ROWS, NextRows, SkippedRow
from curator.selection.result import Selection
from curator.selection.rules import Rules
from curator.types import Progress

__all__ = ["Best", "Cursor", "Page", "Read", "choose_in_order"]

# Key and id: only rows strictly after it are read.
Cursor: TypeAlias = tuple[Any, int]


@dataclass(frozen=True, slots=True)
class Page:
    """The next rows in order.

    Attributes:
        keys: (n,), of whatever type orders them.
        ids: int64 (n,).
        anchors: int32 (n,), as in `Selection`.
        scores: float32 (n,).
    """

    keys: NDArray[Any]
    ids: NDArray[np.int64]
    anchors: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def concatenate(cls, pages: list[Page]) -> Page:
        """One page of several."""
        return cls(
            np.concatenate([page.keys for page in pages]),
            np.concatenate([page.ids for page in pages]),
            np.concatenate([page.anchors for page in pages]),
            np.concatenate([page.scores for page in pages]),
        )

    def take(self, places: Any) -> Page:
        """The rows at an index array, a mask or a slice."""
        return Page(self.keys[places], self.ids[places], self.anchors[places], self.scores[places])


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
        """A key that no row still kept exceeds; None while there is room."""
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


# Reads the pool once: adds rows after the cursor, and counts all rows seen.
Read: TypeAlias = Callable[[Cursor, Best], None]


def choose_in_order(read: Read, start: Cursor, rules: Rules, progress: Progress | None) -> Selection:
    """The first rows in order that the filter accepts, as many as the budget.

    Args:
        read: reads the pool; called again where many rows were skipped.
        start: a cursor before every row.
        rules: the limits, of which one must be a budget.
        progress: told of the rows chosen.

    Returns:
        the selection, without rounds.

    Raises:
        InputError: there is no budget.
    """
    budget, row_filter = rules.require_budget(), rules.new_filter()
    chosen: list[Page] = []
    skipped: list[SkippedRow] = []
    cursor, count, read_rows, passes = start, 0, 0, 0
    k = min(budget + (NEXT_ROWS if row_filter is None else LEAST_K), k_limit(1))
    while True:
        best = Best(k)
        read(cursor, best)
        page = best.page()
        passes += 1
        read_rows += len(page)
        accepted, looked_at = _accepted(page, row_filter, skipped, budget - count)
        chosen.append(accepted)
        count += len(chosen[-1])
        if progress:
            progress({"chosen": len(chosen[-1])})
        if count == budget or read_rows == best.seen:
            rows, following = Page.concatenate(chosen), page.take(slice(looked_at, looked_at + NEXT_ROWS))
            selection = Selection.without_rounds(
                rows.ids,
                rows.scores,
                rows.anchors,
                skipped=skipped,
                budget=budget,
                candidates=best.seen,
                passes=passes,
                k=k,
            )
            next_rows = NextRows.without_rounds(following.ids, following.scores, following.anchors)
            return replace(selection, next_rows=next_rows)
        cursor = (page.keys[-1], int(page.ids[-1]))
        k = min(2 * k, k_limit(1))


def _accepted(page: Page, row_filter: Filter | None, skipped: list[SkippedRow], room: int) -> tuple[Page, int]:
    """The first `room` rows of a page that the filter accepts, and how many rows of the page were looked at for them.

    Those that the filter refuses are added to `skipped`.
    """
    if row_filter is None:
        return page.take(slice(room)), min(room, len(page))
    accepted: list[NDArray[np.int64]] = []
    count, position = 0, 0
    while count < room and position < len(page):
        # Never more than fit: a filter remembers what it accepts.
        end = position + min(room - count, FILTERED_ROWS)
        ids, following = page.ids[position:end], page.ids[end : end + AHEAD_ROWS]
        place, rejection = row_filter(ids, partial(np.asarray, following)) or (len(ids), None)
        accepted.append(np.arange(position, position + place))
        count, position = count + place, position + place
        if rejection is not None:
            row, score, anchor = int(page.ids[position]), float(page.scores[position]), int(page.anchors[position])
            skipped.append(SkippedRow.build(row, score, anchor, -1, rejection))
            position += 1
    return page.take(np.concatenate([np.empty(0, np.int64), *accepted])), position
