"""Taking rows in one order, so many for each target row, from the best rows of every target row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search import Cursors, TopK
from curator.selection.filters import AHEAD_ROWS, FILTERED_ROWS, Filter
from curator.selection.frontier import LEAST_K, k_limit
from curator.selection.not_chosen import NEXT_ROWS, NextRows, SkippedRow
from curator.selection.result import Selection
from curator.types import Progress

__all__ = ["CslsChoice", "ScanRows"]

# Rows of one target row, beyond its share, that the first pass keeps for filters to refuse.
SPARE = 8

# Reads the pool once: cursors, k and total to the top-k after them. `scan_pool` in this process, or `DistributedScan`.
ScanRows: TypeAlias = Callable[[Cursors, int, int], TopK]


class CslsChoice:
    """The rows chosen so far, and where in the order of all rows the choice stands.

    Args:
        budget: rows to choose.
        most: rows to choose for one target row.
        anchors: int64 (T,), the number by which each target row is called.
        row_filter: as in `Rules`.
    """

    def __init__(self, budget: int, most: int, anchors: NDArray[np.int64], row_filter: Filter | None) -> None:
        self._budget = budget
        self._most = most
        self._row_filter = row_filter
        self._anchors = anchors.astype(np.int32)
        self._taken = np.zeros(len(anchors), np.int64)
        self._chosen = [_Entries.empty()]
        self._skipped: list[SkippedRow] = []
        self._next = _Entries.empty()
        self._last = (np.float32(np.inf), -1)
        self._candidates = self._passes = self._k = 0

    def fill(self, scan: ScanRows, progress: Progress | None) -> None:
        """Read the pool, and choose, until the budget is reached or no row is left that may be taken."""
        filtered = self._row_filter is not None
        limit = k_limit(len(self._taken))
        self._k = min(self._most + (max(SPARE, self._most // 2) if filtered else 0), limit)
        # Spare rows are held among the others, and none of them may be taken before a filter refuses one.
        spare_rows = max(0, self._k - self._most) * len(self._taken)
        total = self._budget + spare_rows + (LEAST_K if filtered else NEXT_ROWS)
        while True:
            top_k = scan(self._cursors(), self._k, total)
            self._candidates, self._passes = top_k.rows, self._passes + 1
            before = self._count
            is_finished = self._take(top_k)
            if progress:
                progress({"chosen": self._count - before})
            if is_finished:
                return
            self._k, total = min(2 * self._k, limit), 2 * total

    @property
    def _count(self) -> int:
        return int(self._taken.sum())

    def _cursors(self) -> Cursors:
        """At the last row looked at; at the end for the target rows that have their share."""
        scores = np.where(self._taken < self._most, self._last[0], np.float32(-np.inf))
        return Cursors(scores.astype(np.float32), np.full(len(scores), self._last[1], np.int64))

    def _take(self, top_k: TopK) -> bool:
        """Choose in order, as far as the top-k tells the order; True if nothing is left to choose.

        A target row of which `k` rows are held may have more behind them. If it has not got its share by then, the
        order is not known beyond its last one.
        """
        entries = _Entries.of(top_k)
        ends = entries.ends(len(self._taken))
        # The rows of each target row that may be taken are its first so many.
        allowed = self._most - self._taken
        is_cut = top_k.counts == top_k.k

        def known() -> int:
            """Of how many rows the order is known: up to the first last row of a line that may have more."""
            return int(ends[is_cut & (allowed > top_k.k)].min(initial=len(entries.ids)))

        at = 0
        while self._count < self._budget and at < (end := known()):
            last = end if self._row_filter is None else min(end, at + FILTERED_ROWS)
            # Never more than fit: a filter remembers what it accepts.
            offered = at + np.flatnonzero(entries.place[at:last] < allowed[entries.line[at:last]])
            room = self._budget - self._count
            offered = offered[:room]
            ahead = partial(np.asarray, entries.ids[last : last + AHEAD_ROWS])
            refused = self._row_filter(entries.ids[offered], ahead) if self._row_filter and len(offered) else None
            at = last if len(offered) < room else int(offered[-1]) + 1
            if refused is not None:
                place, rejection = refused
                row, offered = offered[place], offered[:place]
                at = int(row) + 1
                allowed[entries.line[row]] += 1
                anchor, score = int(self._anchors[entries.line[row]]), float(entries.scores[row])
                self._skipped.append(SkippedRow.build(int(entries.ids[row]), score, anchor, -1, rejection))
            self._chosen.append(entries.take(offered))
            self._taken += np.bincount(entries.line[offered], minlength=len(self._taken))
        if self._count == self._budget:
            end = known()
            following = at + np.flatnonzero(entries.place[at:end] < allowed[entries.line[at:end]])
            self._next = entries.take(following[:NEXT_ROWS])
        if at:
            self._last = (entries.scores[at - 1], int(entries.ids[at - 1]))
        is_complete = top_k.floor == -math.inf and not (is_cut & (allowed > top_k.k)).any()
        return self._count == self._budget or is_complete

    def selection(self) -> Selection:
        """Everything as columns."""
        chosen = _Entries.concatenate(self._chosen)
        selection = Selection.without_rounds(
            chosen.ids,
            chosen.scores,
            self._anchors[chosen.line],
            skipped=self._skipped,
            budget=self._budget,
            candidates=self._candidates,
            passes=self._passes,
            k=self._k,
        )
        following = self._next
        next_rows = NextRows.without_rounds(following.ids, following.scores, self._anchors[following.line])
        return replace(selection, next_rows=next_rows, warnings=self._warnings(selection))

    def _warnings(self, selection: Selection) -> list[str]:
        count, passed_over = len(selection), selection.not_reached
        if count == self._budget or not passed_over:
            return selection.warnings
        return [
            f"{count:,} rows are chosen of a budget of {self._budget:,}: the {passed_over:,} others are nearest to "
            f"target rows that have their share of {self._most:,} already; a larger share takes them"
        ]


@dataclass(frozen=True, slots=True)
class _Entries:
    """Rows of all target rows in one order: score descending, then id.

    Attributes:
        ids: int64 (n,).
        scores: float32 (n,).
        line: int64 (n,), the target row that each counts for.
        place: int64 (n,), the place of each among the rows of that target row.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    line: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def empty(cls) -> _Entries:
        """No rows."""
        none = np.empty(0, np.int64)
        return cls(none, np.empty(0, np.float32), none, none)

    @classmethod
    def of(cls, top_k: TopK) -> _Entries:
        """All rows of a top-k."""
        line, place = np.nonzero(np.arange(top_k.ids.shape[1]) < top_k.counts[:, None])
        entries = cls(top_k.ids[line, place], top_k.scores[line, place], line, place)
        return entries.take(np.lexsort((entries.ids, -entries.scores)))

    @classmethod
    def concatenate(cls, parts: list[_Entries]) -> _Entries:
        """One after the other."""
        columns = ("ids", "scores", "line", "place")
        return cls(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))

    def take(self, places: NDArray[np.int64]) -> _Entries:
        """The rows at these places."""
        return _Entries(self.ids[places], self.scores[places], self.line[places], self.place[places])

    def ends(self, lines: int) -> NDArray[np.int64]:
        """Of each target row, how many rows stand up to its last one, int64 (lines,); 0 where it has none."""
        ends = np.zeros(lines, np.int64)
        ends[self.line] = np.arange(1, len(self.line) + 1)
        return ends
