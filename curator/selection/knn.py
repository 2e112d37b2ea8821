"""The rows nearest to any target image: the plain alternative to SimCore."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.float16 import widen
from curator.search import (
    BLOCK_ROWS,
    Floats,
    PassProgress,
    Pool,
    blocks,
    check_centroids,
    check_finite,
    check_rows,
    exact_pairs,
    margin,
    propose,
    row_norms,
    shortlist,
)
from curator.selection.ordered_choice import Best, Cursor, Page, choose_in_order
from curator.selection.result import Selection
from curator.selection.rules import Rules
from curator.types import Progress, unit_rows

__all__ = ["distinct_rows", "select_knn"]


def select_knn(
    pool: Pool,
    targets: Floats,
    rules: Rules,
    *,
    block_rows: int = BLOCK_ROWS,
    progress: Progress | None = None,
) -> Selection:
    """The pool's rows nearest to any target row, by (score descending, id ascending).

    The score of a row is its largest exact score with a target row, brought to unit length.

    Args:
        pool: its parts.
        targets: float16 or float32 (T, d). Rows of zero length are left out, equal ones compared once.
        rules: the limits, of which one must be a budget.
        block_rows: rows scored at once; changes time and memory, never the result.
        progress: told of the rows read and chosen.

    Returns:
        the selection, in which `anchors` holds the lowest target row that gives the score, and there are no
        rounds. Cost 2NTd per pass; memory budget x about 60 bytes.

    Raises:
        InputError: an argument is out of its range, or pool and targets do not fit each other.
    """
    unit, original = distinct_rows(targets)
    read = partial(_read, pool, unit, original, block_rows, PassProgress.of(progress))
    selection = choose_in_order(read, (np.float32(-math.inf), -1), rules, progress)
    return replace(selection, anchor_rows=targets.astype(np.float32))


def distinct_rows(targets: Floats) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distinct unit rows in order of first appearance, and where each appeared first."""
    check_centroids(targets.astype(np.float32))
    every, has_direction = unit_rows(targets)
    rows = np.flatnonzero(has_direction)
    if len(rows) == 0:
        raise InputError("the target has no embedding with a direction", advice="check that it holds images")
    unit = every[rows].astype(np.float32)
    first = np.sort(np.unique(unit, axis=0, return_index=True)[1])
    return unit[first], rows[first]


def _read(
    pool: Pool,
    unit: NDArray[np.float32],
    original: NDArray[np.int64],
    block_rows: int,
    progress: PassProgress,
    cursor: Cursor,
    best: Best,
) -> None:
    progress.begin()
    best.add(_page(np.empty(0, np.float32), np.empty(0, np.int64), original[:0]))
    for part, rows in pool.parts():
        check_rows(part, rows, unit.shape[1])
        for first, block in blocks(part, rows, len(unit), block_rows):
            scores, ids, target = _scan(first, block, unit, cursor, best)
            best.add(_page(scores, ids, original[target]))
            best.seen += len(block)
            progress({"rows": len(block)})


def _page(scores: NDArray[np.float32], ids: NDArray[np.int64], targets: NDArray[np.int64]) -> Page:
    return Page(keys=-scores, ids=ids, anchors=targets.astype(np.int32), scores=scores)


def _scan(
    first: int, rows: Floats, unit: NDArray[np.float32], cursor: Cursor, best: Best
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Scores, ids and distinct targets of the rows of a block that may be among the best after the cursor."""
    rows = widen(rows)
    norms = row_norms(rows)
    check_finite(first, norms)
    error = margin(unit)
    proposed = propose(rows, norms, unit)
    # The largest of many proposed scores is as near to the largest exact one as each is to its own.
    top = proposed.max(axis=0)
    lower_bound = -math.inf if best.last_key is None else -best.last_key
    limits = np.array([-cursor[0]], np.float32), np.array([lower_bound], np.float32)
    listed, _ = shortlist(top[None], best.k, *limits, error)
    rivals = proposed[:, listed] >= top[listed] - np.float32(2 * error)
    target_of, place = np.nonzero(rivals)
    scores = exact_pairs(rows, norms, unit, listed[place], target_of)
    order = np.lexsort((target_of, -scores, place))
    winners = order[np.flatnonzero(np.diff(place[order], prepend=-1))]
    scores, ids = scores[winners], first + listed
    after = (-scores > cursor[0]) | ((-scores == cursor[0]) & (ids > cursor[1]))
    return scores[after], ids[after], target_of[winners][after]
