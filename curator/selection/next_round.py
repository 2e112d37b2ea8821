"""One round: the rows that all centroids would take, once a filter has refused what must be skipped."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from curator.selection.filters import AHEAD_ROWS, FILTERED_ROWS, Filter
from curator.selection.frontier import BestRows, Frontier
from curator.selection.not_chosen import SkippedRow
from curator.selection.outlook import in_order

__all__ = ["Round", "next_round"]

# Rounds to come whose rows are named to the filter.
AHEAD_ROUNDS = 5
# A centroid's place in the order of choice: the score negated, the id of its row, its number.
Place = tuple[float, int, int]


@dataclass(slots=True)
class Round:
    """What a round would take.

    Attributes:
        best: the row of each centroid; None if the pool has nothing left.
        skipped: in order of choice.
    """

    best: BestRows | None
    skipped: list[SkippedRow]


def next_round(frontier: Frontier, row_filter: Filter | None, number: int) -> Round:
    """The rows of round `number`.

    The filter is asked in order of choice: a centroid whose row is skipped moves to a row that comes later in
    that order, so no row that was asked about is overtaken, and those accepted stay the first of the round.
    """
    best = frontier.best()
    if best is None or row_filter is None:
        return Round(best, [])
    turn, skipped = _Turn.of(best), []
    while run := turn.run():
        rows = np.array([row for _, row, _ in run], np.int64)
        refused = row_filter(rows, lambda: turn.ahead(frontier))
        turn.accept(run if refused is None else run[: refused[0]])
        if refused is None:
            continue
        place, rejection = refused
        negated, row, centroid = run[place]
        skipped.append(SkippedRow.build(row, -negated, centroid, number, rejection))
        turn.refuse(run[place])
        frontier.skip(centroid)
        before, best = best, frontier.best()
        if best is None:
            return Round(None, skipped)
        turn.move(best, np.flatnonzero(best.ids != before.ids))
    return Round(best, skipped)


@dataclass(slots=True)
class _Turn:
    """The centroids in order of choice, and how far the filter was asked.

    Attributes:
        places: of the rows at the beginning of the round, each once.
        at: the first of them that was not asked about.
        late: a heap of the places of centroids that moved to another row.
        settled: the rows that were accepted or refused.
        hot: the centroid whose row was refused last.
    """

    places: list[Place]
    at: int = 0
    late: list[Place] = field(default_factory=list)
    settled: set[int] = field(default_factory=set)
    hot: int | None = None

    @classmethod
    def of(cls, best: BestRows) -> _Turn:
        order, first = in_order(best)
        centroids = order[first]
        columns = (-best.scores[centroids].astype(np.float64), best.ids[centroids], centroids)
        return cls(list(zip(*(column.tolist() for column in columns), strict=True)))

    def run(self) -> list[Place]:
        """The places that come next, as many as come before any that moved; empty at the end of the round."""
        while self.late and self.late[0][1] in self.settled:
            heappop(self.late)
        end = min(self.at + FILTERED_ROWS, len(self.places))
        if self.late:
            end = bisect_left(self.places, self.late[0], self.at, end)
        run = [place for place in self.places[self.at : end] if place[1] not in self.settled]
        if run or not (self.late or end < len(self.places)):
            return run
        if end > self.at:
            self.at = end
            return self.run()
        return self.late[:1]

    def accept(self, run: list[Place]) -> None:
        self.settled.update(row for _, row, _ in run)
        self._pass(run)

    def refuse(self, place: Place) -> None:
        self.settled.add(place[1])
        self.hot = place[2]
        self._pass([place])

    def _pass(self, run: list[Place]) -> None:
        if run and run[-1] != (self.late[0] if self.late else None):
            self.at = bisect_left(self.places, run[-1], self.at) + 1

    def move(self, best: BestRows, centroids: NDArray[np.int64]) -> None:
        """Note where these centroids stand now."""
        scores, ids = best.scores[centroids].tolist(), best.ids[centroids].tolist()
        for score, row, centroid in zip(scores, ids, centroids.tolist(), strict=True):
            heappush(self.late, (-score, row, centroid))

    def ahead(self, frontier: Frontier) -> NDArray[np.int64]:
        """Rows that may be asked about next: behind the row refused last, then in this round, then in those to come."""
        rest = np.array([row for _, row, _ in self.places[self.at : self.at + AHEAD_ROWS]], np.int64)
        behind = frontier.behind(self.hot) if self.hot is not None else rest[:0]
        rows = np.concatenate([behind, rest, frontier.upcoming(AHEAD_ROUNDS, AHEAD_ROWS)])
        return np.array([row for row in rows.tolist() if row not in self.settled], np.int64)
