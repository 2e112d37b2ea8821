"""Rows that a selection did not choose and tells of: those it skipped, and those that would have come next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.selection.filters import NO_MATCH, Rejection

__all__ = ["NEXT_ROWS", "NextRows", "Skipped", "SkippedRow"]

# Rows behind the end of a selection that are told.
NEXT_ROWS = 100


@dataclass(frozen=True, slots=True)
class NextRows:
    """The rows that come next in the order of choice behind those chosen, at most `NEXT_ROWS`.

    Rows beyond the last round that the selection looked at were not shown to the filters.

    Attributes:
        ids: int64 (rows,), and likewise `scores`, `anchors` and `rounds` as in `Selection`.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    anchors: NDArray[np.int32]
    rounds: NDArray[np.int32]

    @classmethod
    def none(cls) -> NextRows:
        """No rows: none are left, or the selector cannot say."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int32))

    @classmethod
    def concatenate(cls, several: Sequence[NextRows]) -> NextRows:
        """The rows of several, one after the other, at most `NEXT_ROWS`."""
        return cls(
            np.concatenate([rows.ids for rows in several])[:NEXT_ROWS],
            np.concatenate([rows.scores for rows in several])[:NEXT_ROWS],
            np.concatenate([rows.anchors for rows in several])[:NEXT_ROWS],
            np.concatenate([rows.rounds for rows in several])[:NEXT_ROWS],
        )

    @classmethod
    def without_rounds(
        cls, ids: NDArray[np.int64], scores: NDArray[np.float32], anchors: NDArray[np.int32]
    ) -> NextRows:
        """Those of a selector without rounds."""
        return cls(ids, scores, anchors, np.full(len(ids), -1, np.int32))

    def __len__(self) -> int:
        return len(self.ids)


class SkippedRow(NamedTuple):
    """One row that would have been chosen; the columns of `Skipped`."""

    id: int
    score: float
    anchor: int
    round: int
    reason: str
    because: str
    match: int = NO_MATCH
    similarity: float = math.nan

    @classmethod
    def build(cls, row: int, score: float, anchor: int, number: int, rejection: Rejection) -> SkippedRow:
        """A row, what it would have been chosen for, and why it was not."""
        return cls(row, score, anchor, number, *rejection)


@dataclass(frozen=True, slots=True)
class Skipped:
    """The rows skipped, in the order in which they would have been chosen.

    Rows skipped on the way to a round that the stop rule then refused count as not reached.

    Attributes:
        ids: int64 (rows,).
        scores: float32 (rows,).
        anchors: int32 (rows,), as in `Selection`.
        rounds: int32 (rows,), as in `Selection`.
        reasons: one per row.
        because: one per row, maybe empty.
        matches: int64 (rows,), as in `Rejection`.
        similarities: float32 (rows,), as in `Rejection`.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    anchors: NDArray[np.int32]
    rounds: NDArray[np.int32]
    reasons: list[str]
    because: list[str]
    matches: NDArray[np.int64]
    similarities: NDArray[np.float32]

    @classmethod
    def build(cls, rows: Iterable[SkippedRow]) -> Skipped:
        """Columns of rows."""
        rows = list(rows)
        return cls(
            np.array([row.id for row in rows], np.int64),
            np.array([row.score for row in rows], np.float32),
            np.array([row.anchor for row in rows], np.int32),
            np.array([row.round for row in rows], np.int32),
            [row.reason for row in rows],
            [row.because for row in rows],
            np.array([row.match for row in rows], np.int64),
            np.array([row.similarity for row in rows], np.float32),
        )

    def __len__(self) -> int:
        return len(self.ids)
