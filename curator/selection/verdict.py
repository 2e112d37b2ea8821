"""Whether the pool holds anything of the target's kind: its best rows for target rows, against the target itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, QueryScan, TopK, first_in_hash_order
from curator.types import unit_rows

__all__ = ["LEAST_SHARE", "Bound", "Nearest", "Verdict", "nearest_rows", "query_rows", "query_scan", "verdict_of"]

QUERIES = 500
# Pool rows kept for each, so that its own copies in the pool can be passed over.
KEPT = 64
# Measured on eleven targets: .65 and more with pools that hold the kind, .59 and less without any image of it.
LEAST_SHARE = 0.6
# The same rows whatever the seed of the selection, which not every selector reads.
SEED = 0
NO_ROW = -1


class Bound(StrEnum):
    """How the best rows are known. Values are part of the format of `selection.json`.

    `LOWER`: there may be nearer ones that were not read, or that hide behind many of the target's own images.
    """

    EXACT = "exact"
    LOWER = "lower"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Nearest:
    """The best pool row of some target rows; the target's own images do not count.

    Attributes:
        rows: int64 (n,), places in the target, ascending.
        ids: int64 (n,), of the pool rows; -1 where there is none.
        scores: float32 (n,), of the two; NaN where there is none.
        bound: how these are known.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    bound: Bound

    @classmethod
    def unknown(cls) -> Nearest:
        """Of a selection that scored no rows."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, nothing.astype(np.float32), Bound.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sign of whether the pool holds the target's kind.

    Attributes:
        share: of the target rows looked at, those whose best pool row is nearer than `median`; None where that is not
            known.
        rows: how many target rows were looked at.
        bound: how the share is known.
        median: the similarity that a target row typically has to the rest of the target; None where it is not known.
    """

    share: float | None
    rows: int
    bound: Bound
    median: float | None

    @property
    def doubtful(self) -> bool:
        """Whether the pool may hold nothing of the kind."""
        return self.share is not None and self.share < LEAST_SHARE

    def to_json(self) -> dict[str, Any]:
        """For `selection.json`."""
        return {"share": self.share, "rows": self.rows, "bound": str(self.bound), "median": self.median}


def query_rows(target: Floats) -> NDArray[np.int64]:
    """The target rows that are looked at: int64 (at most 500,), ascending, the same on every call."""
    return first_in_hash_order({0: len(target)}, QUERIES, SEED)


def query_scan(target: Floats) -> QueryScan:
    """What looks for the best pool rows of these target rows, in the form in which `find_centroids` gives them.

    Args:
        target: float16 or float32 (n, d); none of zero length, at least one.
    """
    return QueryScan(unit_rows(target[query_rows(target)])[0].astype(np.float32), KEPT)


def nearest_rows(
    rows: NDArray[np.int64], top_k: TopK, is_own: Callable[[NDArray[np.int64]], NDArray[np.bool_]], *, all_read: bool
) -> Nearest:
    """The best pool row of each target row that is not an image of the target.

    Args:
        rows: int64 (n,), places in the target.
        top_k: their best pool rows.
        is_own: ids of pool rows, int64 (m,), to bool (m,), True for the target's own images. It is asked about the
            rows that are the best so far, and again about those behind them.
        all_read: whether all rows of the pool were scored.
    """
    at = np.zeros(len(rows), np.int64)
    open_lines = np.flatnonzero(top_k.counts > 0)
    while len(open_lines):
        ids = top_k.ids[open_lines, at[open_lines]]
        distinct, places = np.unique(ids, return_inverse=True)
        open_lines = open_lines[is_own(distinct)[places]]
        at[open_lines] += 1
        open_lines = open_lines[at[open_lines] < top_k.counts[open_lines]]
    held = at < top_k.counts
    ids, scores = np.full(len(rows), NO_ROW, np.int64), np.full(len(rows), math.nan, np.float32)
    ids[held], scores[held] = top_k.ids[held, at[held]], top_k.scores[held, at[held]]
    known = bool((held | top_k.complete).all()) and all_read
    return Nearest(rows, ids, scores, Bound.EXACT if known else Bound.LOWER)


def verdict_of(nearest: Nearest, median: float) -> Verdict:
    """The share of target rows whose best pool row is nearer than a typical left-out target row is to the rest.

    Args:
        nearest: the best pool rows.
        median: of `HeldOut`; NaN where nothing could be held out.
    """
    if len(nearest.rows) == 0 or not math.isfinite(median):
        return Verdict(None, len(nearest.rows), Bound.UNKNOWN, median if math.isfinite(median) else None)
    # NaN, where there is no row, is not nearer.
    nearer = int(np.count_nonzero(nearest.scores.astype(np.float64) > median))
    return Verdict(nearer / len(nearest.rows), len(nearest.rows), nearest.bound, median)
