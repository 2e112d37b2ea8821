"""A selector's own order of the pool's rows, made a selection by the rules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curator.errors import CuratorError
from curator.search import Pool
from curator.selection.ordered_choice import Best, Cursor, Page, choose_in_order
from curator.selection.result import Selection, StopReason
from curator.selection.rules import Rules
from curator.types import Progress, parts_of, rows_of

__all__ = ["Ranking", "choose_ranked"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of a pool in the order in which they are to be chosen, the best first.

    Rows behind the budget take the place of those that a filter refuses: rank all rows, or many more than the budget.

    Attributes:
        ids: int64 (n,), each id once.
        scores: float32 (n,), or None from a selector without scores.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32] | None = None

    @classmethod
    def by_score(cls, ids: NDArray[np.int64], scores: NDArray[np.float32]) -> Ranking:
        """Rows by score, the highest first; equal scores by id.

        >>> Ranking.by_score(np.array([3, 1, 2]), np.array([0.5, 0.5, 0.9])).ids.tolist()
        [2, 1, 3]
        """
        order = np.lexsort((ids, -scores))
        return cls(ids[order], scores[order].astype(np.float32))


def choose_ranked(pool: Pool, ranking: Ranking, rules: Rules, progress: Progress | None = None) -> Selection:
    """The first rows of a ranking that the filter accepts, as many as the budget; without a budget all of them.

    Raises:
        CuratorError: the ranking holds an id twice, one that the pool does not have, or NaN as a score.
    """
    lengths = {part: len(rows) for part, rows in pool.parts()}
    ids = np.asarray(ranking.ids, np.int64)
    scores = np.full(len(ids), np.nan, np.float32) if ranking.scores is None else np.asarray(ranking.scores, np.float32)
    _check(ids, scores, lengths, has_scores=ranking.scores is not None)
    page = Page(np.arange(len(ids)), ids, np.full(len(ids), -1, np.int32), scores)

    def read(cursor: Cursor, best: Best) -> None:
        best.add(page.take(slice(cursor[0] + 1, None)))
        best.seen = len(ids)

    limited = rules if rules.budget is not None else replace(rules, budget=max(1, len(ids)))
    selection = choose_in_order(read, (-1, -1), limited, progress)
    ended_early = selection.stop_reason is not StopReason.BUDGET and len(ids) < sum(lengths.values())
    if ended_early or rules.budget is None:
        selection = replace(selection, stop_reason=StopReason.SELECTOR)
    warnings = selection.warnings
    if rules.budget is None:
        warnings = []
    elif ended_early:
        chosen = len(selection.ids)
        warnings = [f"the selector ranked {len(ids)} rows, too few for the budget of {rules.budget}: {chosen} chosen"]
    return replace(selection, candidates=sum(lengths.values()), warnings=warnings)


def _check(ids: NDArray[np.int64], scores: NDArray[np.float32], lengths: dict[int, int], *, has_scores: bool) -> None:
    if ids.ndim != 1 or scores.shape != ids.shape:
        raise CuratorError(f"the selector ranked ids of shape {ids.shape} with scores of shape {scores.shape}")
    if len(np.unique(ids)) != len(ids):
        raise CuratorError("the selector ranked a row twice")
    known = np.array([lengths.get(part, 0) for part in parts_of(ids).tolist()], np.int64)
    if (rows_of(ids) >= known).any():
        raise CuratorError("the selector ranked a row that the pool does not have")
    if has_scores and np.isnan(scores).any():
        raise CuratorError("the selector gave a row NaN as its score")
