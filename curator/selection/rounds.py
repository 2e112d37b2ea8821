"""SimCore's rounds: in each, every centroid takes its best row that no earlier round took.

Kim, Bae, Yun: "Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning", CVPR 2023,
arXiv 2303.11101, section 3.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curator.errors import Another, CuratorError, Use
from curator.selection.frontier import ROOM, BestRows, Fetch, Frontier, first_k
from curator.selection.next_round import next_round
from curator.selection.not_chosen import NextRows, Skipped, SkippedRow
from curator.selection.outlook import in_order, look_ahead, mean_of
from curator.selection.result import RefusedRound, Rounds, Selection, StopReason, budget_warnings, ratio_to
from curator.selection.rules import Rules
from curator.types import Progress

__all__ = ["run_rounds"]


def run_rounds(
    fetch: Fetch, clusters: int, rules: Rules, progress: Progress | None = None, *, room: int = ROOM
) -> Selection:
    """Choose rows by rounds over the top-k that `fetch` reads.

    Args:
        fetch: reads the pool; called once, and again whenever a centroid's rows run out before the end.
        clusters: number of centroids K.
        rules: the limits.
        progress: told of the rows chosen.
        room: rows of all centroids together that are held; the fewer, the more often the pool is read.

    Returns:
        the selection; its objective is NaN if the budget cut the first round short. Cost K log K per round.
    """
    budget, row_filter = rules.budget, rules.new_filter()
    frontier = Frontier(fetch, clusters, rules.k or first_k(clusters, budget), budget, room)
    log = _Log(rules, has_filter=row_filter is not None)
    while True:
        turn = next_round(frontier, row_filter, log.number)
        if turn.best is None:
            log.skipped += turn.skipped
            log.lower_bounds = None
            return log.selection(StopReason.POOL_EXHAUSTED, frontier)
        mean = mean_of(turn.best.scores)
        log.lower_bounds = turn.best.scores
        if log.refuses(mean):
            return log.selection(StopReason.STOP_RULE, frontier)
        log.take(turn.best, turn.skipped, mean)
        if progress:
            progress({"chosen": log.counts[-1]})
        frontier.remove_all()
        if log.chosen == budget:
            return log.selection(StopReason.BUDGET, frontier)


@dataclass(slots=True)
class _Log:
    """The rounds so far."""

    rules: Rules
    has_filter: bool
    ids: list[NDArray[np.int64]] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    centroids: list[NDArray[np.int32]] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    # Rows of each round without the budget's cut, and what the cut left of the last.
    full_counts: list[int] = field(default_factory=list)
    cut: NextRows = field(default_factory=NextRows.none)
    skipped: list[SkippedRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reference: float = math.nan
    refused: RefusedRound | None = None
    objective: float = math.nan
    chosen: int = 0
    lower_bounds: NDArray[np.float32] | None = None

    @property
    def number(self) -> int:
        """Number of the round that comes next."""
        return len(self.means) + 1

    def refuses(self, mean: float) -> bool:
        """Whether the stop rule forbids the next round; notes the reference mean when it comes by."""
        stop = self.rules.stop
        if self.number == self.rules.reference_round:
            self.reference = mean
            if stop is not None and mean <= 0:
                self._no_stop(mean)
        # NaN, while there is no reference yet, refuses nothing.
        if stop is None or not self.reference > 0 or not mean < stop * self.reference:
            return False
        self.refused = RefusedRound(self.number, mean, ratio_to(mean, self.reference))
        return True

    def _no_stop(self, mean: float) -> None:
        """A reference mean of which no share ends anything: tell, or give up where nothing else would end it."""
        text = f"the mean score {mean:.4g} of reference round {self.number} is not positive: no stop"
        if self.rules.budget is None:
            raise CuratorError(
                f"{text}, and so the whole pool would be taken: to this encoder nothing in it is like the target",
                field="stop",
                advice=(Use("budget"), Another("encoder")),
            )
        self.warnings.append(text)

    def take(self, best: BestRows, skipped: list[SkippedRow], mean: float) -> None:
        """Choose a round's rows in order, as many as the budget leaves room for."""
        scores, ids = best
        order, first = in_order(best)
        room = None if self.rules.budget is None else self.rules.budget - self.chosen
        if room is None or len(first) < room:
            self.skipped += skipped
        else:
            last = order[first[room - 1]]
            end = (-float(scores[last]), int(ids[last]))
            self.skipped += [row for row in skipped if (-row.score, row.id) < end]
        taken_by, left = order[first[:room]], order[first[len(first[:room]) :]]
        if self.number == 1 and len(taken_by) == len(first):
            # Whatever beats these rows was skipped, so no later round improves on them.
            self.objective = mean
        self.cut = NextRows(ids[left], scores[left], left.astype(np.int32), np.full(len(left), self.number, np.int32))
        self.ids.append(ids[taken_by])
        self.scores.append(scores[taken_by])
        self.centroids.append(taken_by.astype(np.int32))
        self.ratios.append(ratio_to(mean, self.reference))
        self.means.append(mean)
        self.counts.append(len(taken_by))
        self.full_counts.append(len(first))
        self.chosen += len(taken_by)

    def selection(self, reason: StopReason, frontier: Frontier) -> Selection:
        """Everything as columns."""
        table = Rounds.build(self.means, self.ratios, self.counts)
        if reason is StopReason.POOL_EXHAUSTED:
            self.warnings += budget_warnings(self.rules.budget, self.chosen, len(self.skipped), frontier.candidates)
        asked = len(self.means) + (reason is StopReason.STOP_RULE)
        next_rows, around_end, thresholds = look_ahead(
            frontier,
            self.means,
            self.full_counts,
            cut=self.cut,
            chosen=self.chosen,
            exact_rounds=asked if self.has_filter and reason is not StopReason.POOL_EXHAUSTED else sys.maxsize,
            reference_round=self.rules.reference_round,
            thresholds=self.rules.thresholds if self.rules.stop is None else (self.rules.stop, *self.rules.thresholds),
        )
        return Selection(
            ids=np.concatenate([np.empty(0, np.int64), *self.ids]),
            scores=np.concatenate([np.empty(0, np.float32), *self.scores]),
            anchors=np.concatenate([np.empty(0, np.int32), *self.centroids]),
            rounds=np.repeat(table.round, table.chosen),
            rounds_table=table,
            skipped=Skipped.build(self.skipped),
            stop_reason=reason,
            stopped_at=self.refused,
            reference_mean=self.reference,
            objective=self.objective,
            candidates=frontier.candidates,
            passes=frontier.passes,
            k=frontier.k,
            warnings=self.warnings,
            lower_bounds=self.lower_bounds,
            next_rows=next_rows,
            around_end=around_end,
            thresholds=thresholds,
        )
