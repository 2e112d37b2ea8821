"""What lies around the end of a selection by rounds: the next rows, and what other thresholds would have taken.

Beyond the end the rounds go on over the candidates that are in memory: no row is read for it, and no filter is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.selection.frontier import BestRows, Frontier
from curator.selection.not_chosen import NEXT_ROWS, NextRows
from curator.selection.result import RoundLine, Threshold, ratio_to

__all__ = ["Outlook", "in_order", "look_ahead", "mean_of"]

# The paper's threshold, and those with which users compare it.
USUAL_THRESHOLDS = (0.95, 0.9, 0.8, 0.7)
# Rounds that are told before and after the end.
LINES_BEFORE = 3
LINES_AFTER = 2


class Outlook(NamedTuple):
    """What `look_ahead` found; see the attributes of `Selection` with these names."""

    next_rows: NextRows
    around_end: list[RoundLine]
    thresholds: list[Threshold]


@dataclass(slots=True)
class _Rounds:
    """The means and sizes of all rounds, those taken and those beyond the end; a round that was cut short in full."""

    reference_round: int
    lowest: float
    means: list[float]
    counts: list[int]
    reference: float = math.nan
    # Whether all thresholds were passed.
    passed: bool = field(default=False, init=False)

    def add(self, best: BestRows) -> None:
        self.means.append(mean_of(best.scores))
        self.counts.append(len(np.unique(best.ids)))
        if len(self.means) == self.reference_round:
            self.reference = self.means[-1]
        self.passed = len(self.means) > self.reference_round and self.means[-1] < self.lowest * self.reference

    def threshold(self, stop: float, exact_rounds: int, exhausted: bool) -> Threshold:
        """What `stop` would take."""
        means = np.array(self.means[self.reference_round :])
        refused = np.flatnonzero(means < stop * self.reference)
        rounds = self.reference_round + int(refused[0]) if len(refused) else len(self.means)
        more = not len(refused) and not exhausted
        return Threshold(stop, rounds, sum(self.counts[:rounds]), more, exact=rounds < exact_rounds and not more)


def look_ahead(
    frontier: Frontier,
    means: Sequence[float],
    counts: Sequence[int],
    *,
    cut: NextRows,
    chosen: int,
    exact_rounds: int,
    reference_round: int,
    thresholds: Sequence[float],
) -> Outlook:
    """Go on with the rounds behind the end of a selection, as far as the candidates in memory reach.

    Args:
        frontier: as the last round left it: the first row that it gives is the first of the next round.
        means: the mean score of each round that was taken.
        counts: the rows of each of these rounds, also of one that the budget cut short, in full.
        cut: the rows that the budget left over of the last round, in order.
        chosen: rows chosen.
        exact_rounds: up to this round every row was shown to the filter; a large number where there is none.
        reference_round: see `Rules`.
        thresholds: shares of the reference mean of which to tell, beside the usual ones.

    Returns:
        what lies around the end; no thresholds where the reference mean is not positive or not reached. Cost K log K a
        round, of which there are at most k.
    """
    stops = sorted({*USUAL_THRESHOLDS, *thresholds}, reverse=True)
    reference = means[reference_round - 1] if len(means) >= reference_round else math.nan
    rounds = _Rounds(reference_round, stops[-1], list(means), list(counts), reference)
    ahead = [cut]
    while True:
        new = len(rounds.means) - len(means)
        enough = sum(len(rows) for rows in ahead) >= NEXT_ROWS and new >= LINES_AFTER
        # A reference mean that is not positive tells of no threshold.
        if enough and (rounds.passed or rounds.reference <= 0):
            break
        best = frontier.best_in_memory()
        if best is None:
            break
        rounds.add(best)
        if sum(len(rows) for rows in ahead) < NEXT_ROWS:
            ahead.append(_next_rows(best, len(rounds.means)))
        frontier.remove_all()
    exhausted = frontier.exhausted
    told = [rounds.threshold(stop, exact_rounds, exhausted) for stop in stops] if rounds.reference > 0 else []
    return Outlook(NextRows.concatenate(ahead), _around_end(rounds, len(means), chosen), told)


def _around_end(rounds: _Rounds, taken: int, chosen: int) -> list[RoundLine]:
    so_far = np.cumsum(rounds.counts).tolist()
    if taken:
        so_far[taken - 1] = chosen
    return [
        RoundLine(
            round=place + 1,
            mean=rounds.means[place],
            ratio=ratio_to(rounds.means[place], rounds.reference),
            chosen=so_far[place],
            taken=place < taken,
        )
        for place in range(max(0, taken - LINES_BEFORE), min(taken + LINES_AFTER, len(so_far)))
    ]


def _next_rows(best: BestRows, number: int) -> NextRows:
    order, first = in_order(best)
    centroids = order[first]
    return NextRows(
        best.ids[centroids],
        best.scores[centroids],
        centroids.astype(np.int32),
        np.full(len(centroids), number, np.int32),
    )


def in_order(best: BestRows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The centroids in order of choice, and the places among them at which a row stands for the first time.

    A row that is the best of several centroids stands first where its best centroid, then the lower, has it.
    """
    order = np.lexsort((best.ids, -best.scores))
    return order, np.sort(np.unique(best.ids[order], return_index=True)[1])


def mean_of(scores: NDArray[np.float32]) -> float:
    """Mean in float64, added in centroid order (np.mean adds pairwise)."""
    return float(np.cumsum(scores, dtype=np.float64)[-1]) / len(scores)
