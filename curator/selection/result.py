"""What a selector hands over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.selection.not_chosen import NextRows, Skipped, SkippedRow
from curator.selection.verdict import Nearest, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "RefusedRound",
    "RoundLine",
    "Rounds",
    "Selection",
    "StopReason",
    "Threshold",
]


class StopReason(StrEnum):
    """Why a selection ended. Values are part of the format of `selection.json`.

    `SELECTOR`: a selector of one's own put no more rows in order.
    """

    BUDGET = "budget"
    STOP_RULE = "stop_rule"
    POOL_EXHAUSTED = "pool_exhausted"
    SELECTOR = "selector"


class RefusedRound(NamedTuple):
    """The round that the stop rule did not let happen.

    Attributes:
        round: its number.
        mean: its mean score.
        ratio: the mean over the reference mean, below the threshold.
    """

    round: int
    mean: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Rounds:
    """One line per round that chose something.

    Attributes:
        round: int32 (rounds,): 1, 2, 3, ...
        mean_score: float64 (rounds,), over all centroids, whether or not the budget cut the round short.
        ratio: float64 (rounds,), mean_score over the reference mean; NaN before the reference round, and
            everywhere if the reference mean is not positive.
        chosen: int64 (rounds,), rows chosen.
    """

    round: NDArray[np.int32]
    mean_score: NDArray[np.float64]
    ratio: NDArray[np.float64]
    chosen: NDArray[np.int64]

    @classmethod
    def build(cls, means: list[float], ratios: list[float], chosen: list[int]) -> Rounds:
        """The table of rounds 1, 2, 3, ..."""
        return cls(
            np.arange(1, len(means) + 1, dtype=np.int32),
            np.array(means, np.float64),
            np.array(ratios, np.float64),
            np.array(chosen, np.int64),
        )


class RoundLine(NamedTuple):
    """A round near the end of a selection.

    Attributes:
        round: its number.
        mean: its mean score.
        ratio: the mean over the reference mean; NaN where that is not positive or not reached.
        chosen: rows chosen so far, with this round.
        taken: whether the selection took it; False for one beyond the end.
    """

    round: int
    mean: float
    ratio: float
    chosen: int
    taken: bool


class Threshold(NamedTuple):
    """What a threshold of the stop rule takes of a pool.

    Attributes:
        stop: the threshold.
        rounds: rounds before the first that it refuses.
        chosen: rows of these rounds.
        more: whether the rounds that are known ended before that, so that it takes more.
        exact: whether a run with this threshold would choose exactly so many rows; False where rounds beyond the end
            count, in which no filter was asked.
    """

    stop: float
    rounds: int
    chosen: int
    more: bool
    exact: bool


@dataclass(frozen=True, slots=True, repr=False)
class Selection:
    """The chosen rows, best first, and how the choice went.

    `candidates = len(ids) + len(skipped) + not_reached`, always.

    Attributes:
        ids: int64 (chosen,), in order of choice: the first B are the selection of budget B.
        scores: float32 (chosen,), of the row and its anchor; NaN from selectors without scores.
        anchors: int32 (chosen,), the place in `anchor_rows` of what stands for the target where the row was chosen:
            for simcore the centroid that took the row, the best of several, then the lower; for knn the target row.
            -1 from selectors without anchors. Stored as the column `centroid`.
        rounds: int32 (chosen,), from 1; -1 from the selectors without rounds.
        rounds_table: one line per round; empty from the selectors without rounds.
        skipped: the rows skipped.
        stop_reason: why it ended.
        stopped_at: the round refused by the stop rule, or None.
        reference_mean: mean score of the reference round; NaN where it was not reached.
        objective: mean over the centroids of the best score among the chosen rows, the facility location
            of the paper's eq. 2; NaN where there are no centroids or nothing was chosen.
        candidates: rows of the pool.
        passes: how often the pool was read to find candidates.
        k: rows per centroid that the last of these passes kept.
        warnings: one line each, for a person.
        anchor_rows: float32 (K, d), the centroids, or the target rows; None from selectors without anchors. Stored as
            `centroids.npy`.
        lower_bounds: float32 (K,): the score at which each centroid stood in the last round looked at, refused or not.
            Rows below it had no influence. None where the pool ran out, and from the selectors without rounds.
        next_rows: the rows that would come next; fewer than 100 where the rows in memory end, and none from a
            selector that cannot say.
        around_end: the last rounds and the first beyond the end; empty from the selectors without rounds.
        thresholds: what thresholds of the stop rule take, the highest first; empty from the selectors without rounds,
            and where the reference mean is not positive.
        recall: what an approximate search measured of itself, as in selection.json; None for an exact one.
        nearest: the best pool rows of some target rows; None where nobody looked.
        verdict: whether the pool seems to hold the target's kind; None where nobody looked.
        target_copies: how many of the target's rows show what another of its rows shows.
        shards: name of the shard of each chosen row; None where that is not known.
        keys: key of each chosen row; None where that is not known.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    anchors: NDArray[np.int32]
    rounds: NDArray[np.int32]
    rounds_table: Rounds
    skipped: Skipped
    stop_reason: StopReason
    stopped_at: RefusedRound | None
    reference_mean: float
    objective: float
    candidates: int
    passes: int
    k: int
    warnings: list[str]
    anchor_rows: NDArray[np.float32] | None = None
    lower_bounds: NDArray[np.float32] | None = None
    next_rows: NextRows = field(default_factory=NextRows.none)
    around_end: Sequence[RoundLine] = ()
    thresholds: Sequence[Threshold] = ()
    recall: dict[str, Any] | None = None
    nearest: Nearest | None = None
    verdict: Verdict | None = None
    target_copies: int = 0
    shards: Sequence[str] | None = None
    keys: Sequence[str] | None = None

    @classmethod
    def without_rounds(
        cls,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        anchors: NDArray[np.int32],
        *,
        skipped: Sequence[SkippedRow],
        budget: int,
        candidates: int,
        passes: int,
        k: int,
    ) -> Selection:
        """The selection of a selector that takes rows one by one until a budget is reached."""
        return cls(
            ids=ids,
            scores=scores,
            anchors=anchors,
            rounds=np.full(len(ids), -1, np.int32),
            rounds_table=Rounds.build([], [], []),
            skipped=Skipped.build(skipped),
            stop_reason=StopReason.BUDGET if len(ids) == budget else StopReason.POOL_EXHAUSTED,
            stopped_at=None,
            reference_mean=math.nan,
            objective=math.nan,
            candidates=candidates,
            passes=passes,
            k=k,
            warnings=budget_warnings(budget, len(ids), len(skipped), candidates),
        )

    @property
    def not_reached(self) -> int:
        """Rows of the pool that were neither chosen nor skipped."""
        return self.candidates - len(self.ids) - len(self.skipped)

    def table(self) -> pa.Table:
        """The chosen rows as an Arrow table with the columns of `selected.parquet`; what is not known is null."""
        import pyarrow as pa

        from curator.io import SELECTED

        unknown = [None] * len(self)
        columns = {
            "id": self.ids,
            "shard": unknown if self.shards is None else self.shards,
            "key": unknown if self.keys is None else self.keys,
            "score": pa.array(self.scores, mask=np.isnan(self.scores)),
            "centroid": pa.array(self.anchors, mask=self.anchors < 0),
            "round": pa.array(self.rounds, mask=self.rounds < 0),
        }
        return pa.table([pa.array(columns[field.name], field.type) for field in SELECTED], schema=SELECTED)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        rounds = f", rounds: {len(self.rounds_table.round):,}" if len(self.rounds_table.round) else ""
        return f"<Selection: {len(self):,} of {self.candidates:,} candidates{rounds}, ended by: {self.stop_reason}>"


def budget_warnings(budget: int | None, chosen: int, skipped: int, candidates: int) -> list[str]:
    """Tell of a budget that the pool could not fill."""
    if budget is None or chosen >= budget:
        return []
    return [
        f"the pool ran out before the budget of {budget}: {candidates} candidates, {skipped} skipped, {chosen} chosen"
    ]


def ratio_to(mean: float, reference: float) -> float:
    """A mean over the reference mean; NaN if that is not positive, or not known (NaN)."""
    return mean / reference if reference > 0 else math.nan
