"""SimCore's rounds: in each, every centroid takes its best row that no earlier round took.

Kim, Bae, Yun: "Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning", CVPR 2023,
arXiv 2303.11101, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.selection.filters import Filter
from curator.selection.frontier import Fetch, Frontier, Heads, first_k
from curator.selection.result import (
    RefusedRound,
    Rounds,
    Selection,
    Skipped,
    SkippedRow,
    StopReason,
    budget_warnings,
    check_budget,
    ratio_to,
)
from curator.types import Progress

__all__ = ["DEFAULT_STOP", "run_rounds"]

DEFAULT_STOP = 0.95
"""The paper's threshold, for a run that is given neither a budget nor a stop rule."""


def run_rounds(
    fetch: Fetch,
    clusters: int,
    *,
    budget: int | None,
    stop: float | None,
    reference_round: int = 1,
    row_filter: Filter | None = None,
    k: int | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Choose rows by rounds over queues that `fetch` reads.

    Args:
        fetch: reads the pool; called once, and again whenever a queue runs dry before the end.
        clusters: number of centroids K.
        budget: rows to choose, at least 1; None for no limit.
        stop: end before a round whose mean is below this share of the reference mean; None for no rule.
        reference_round: the round, from 1, whose mean is the reference. Rounds up to it are never refused.
        row_filter: asked about each row at the moment it would be chosen; None skips nothing.
        k: rows per centroid of the first pass; changes time and memory, never the result.
        progress: told of the rows chosen.

    Returns:
        the selection; its objective is NaN if the budget cut the first round short. Cost K log K per round.

    Raises:
        InputError: an argument is out of its range.
    """
    _check(budget, stop, reference_round, k)
    front = Frontier(fetch, clusters, k or first_k(clusters, budget))
    log = _Log(reference_round)
    while True:
        found = _resolve(front, row_filter, log.number)
        if found.heads is None:
            log.passed += found.passed
            log.cuts = None
            return log.selection(StopReason.POOL_EXHAUSTED, front, budget)
        mean = _mean(found.heads.scores)
        log.cuts = found.heads.scores
        if log.refuses(mean, stop):
            return log.selection(StopReason.STOP_RULE, front, budget)
        log.take(found, mean, None if budget is None else budget - log.chosen)
        if progress:
            progress({"chosen": log.counts[-1]})
        if log.chosen == budget:
            return log.selection(StopReason.BUDGET, front, budget)
        front.drop_all()


@dataclass(slots=True)
class _Found:
    """What a round would take: `heads` is None if the pool has nothing left; `passed` in order of choice."""

    heads: Heads | None
    passed: list[SkippedRow]


def _resolve(front: Frontier, row_filter: Filter | None, number: int) -> _Found:
    """The rows of a round, once all that must be skipped are.

    Rows are judged in order of choice: a centroid whose row is skipped moves to a row that comes later in
    that order, so nothing already judged is overtaken, and those let pass stay the first of the round.
    """
    passed: list[SkippedRow] = []
    accepted = 0
    while True:
        heads = front.heads()
        if heads is None or row_filter is None:
            return _Found(heads, passed)
        order, first = _in_order(heads)
        found = row_filter(heads.ids[order[first[accepted:]]])
        if found is None:
            return _Found(heads, passed)
        place, rejection = found
        accepted += place
        centroid = int(order[first[accepted]])
        passed.append(
            SkippedRow.of(int(heads.ids[centroid]), float(heads.scores[centroid]), centroid, number, rejection)
        )
        front.drop(centroid)


def _in_order(heads: Heads) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The centroids in order of choice, and the places among them at which a row is wanted for the first time.

    A row wanted by several centroids stands first where its best centroid, then the lower, wants it.
    """
    order = np.lexsort((heads.ids, -heads.scores))
    return order, np.sort(np.unique(heads.ids[order], return_index=True)[1])


def _mean(scores: NDArray[np.float32]) -> float:
    """Mean in float64, added in centroid order (np.mean adds pairwise)."""
    return float(np.cumsum(scores, dtype=np.float64)[-1]) / len(scores)


@dataclass(slots=True)
class _Log:
    """The rounds so far."""

    reference_round: int
    ids: list[NDArray[np.int64]] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    centroids: list[NDArray[np.int32]] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    passed: list[SkippedRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reference: float = math.nan
    refused: RefusedRound | None = None
    objective: float = math.nan
    chosen: int = 0
    cuts: NDArray[np.float32] | None = None

    @property
    def number(self) -> int:
        """Number of the round that comes next."""
        return len(self.means) + 1

    def refuses(self, mean: float, stop: float | None) -> bool:
        """Whether the stop rule forbids the next round; notes the reference mean when it comes by."""
        if self.number == self.reference_round:
            self.reference = mean
            if stop is not None and mean <= 0:
                self.warnings.append(
                    f"the mean score {mean:.4g} of reference round {self.number} is not positive: no stop"
                )
        # NaN, while there is no reference yet, refuses nothing.
        if stop is None or not self.reference > 0 or not mean < stop * self.reference:
            return False
        self.refused = RefusedRound(self.number, mean, ratio_to(mean, self.reference))
        return True

    def take(self, found: _Found, mean: float, room: int | None) -> None:
        """Choose a round's rows in order, at most `room` of them."""
        assert found.heads is not None
        scores, ids = found.heads
        order, first = _in_order(found.heads)
        if room is None or len(first) < room:
            self.passed += found.passed
        else:
            last = order[first[room - 1]]
            end = (-float(scores[last]), int(ids[last]))
            self.passed += [row for row in found.passed if (-row.score, row.id) < end]
        picks = order[first[:room]]
        if self.number == 1 and len(picks) == len(first):
            # Whatever beats these rows was skipped, so no later round improves on them.
            self.objective = mean
        self.ids.append(ids[picks])
        self.scores.append(scores[picks])
        self.centroids.append(picks.astype(np.int32))
        self.ratios.append(ratio_to(mean, self.reference))
        self.means.append(mean)
        self.counts.append(len(picks))
        self.chosen += len(picks)

    def selection(self, reason: StopReason, front: Frontier, budget: int | None) -> Selection:
        """Everything as columns."""
        table = Rounds.build(self.means, self.ratios, self.counts)
        if reason is StopReason.POOL_EXHAUSTED:
            self.warnings += budget_warnings(budget, self.chosen, len(self.passed), front.candidates)
        return Selection(
            ids=np.concatenate([np.empty(0, np.int64), *self.ids]),
            scores=np.concatenate([np.empty(0, np.float32), *self.scores]),
            centroids=np.concatenate([np.empty(0, np.int32), *self.centroids]),
            rounds=np.repeat(table.round, table.chosen),
            rounds_table=table,
            skipped=Skipped.build(self.passed),
            stop_reason=reason,
            stopped_at=self.refused,
            reference_mean=self.reference,
            objective=self.objective,
            candidates=front.candidates,
            passes=front.passes,
            k=front.k,
            warnings=self.warnings,
            cuts=self.cuts,
        )


def _check(budget: int | None, stop: float | None, reference_round: int, k: int | None) -> None:
    check_budget(budget)
    if stop is not None and not 0 < stop <= 1:
        raise InputError(f"stop is a share of the reference mean, above 0 and at most 1, not {stop}")
    if reference_round < 1:
        raise InputError(f"rounds are numbered from 1: there is no reference round {reference_round}")
    if k is not None and k < 1:
        raise InputError(f"a k of {k} finds nothing: give at least 1")
