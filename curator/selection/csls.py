"""Density-corrected choice: the best rows by `csls_scan`'s score, and only so many for one target row.

pool sample -> half-whitened space -> top-k of every target row, in one pass -> all in one order -> budget, filters
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from curator.errors import InputError
from curator.search import Cursors, Floats, PassProgress, Pool, RowScan, TopK, check_rows, scan_pool
from curator.selection.csls_choice import CslsChoice, ScanRows
from curator.selection.csls_sample import PoolSample
from curator.selection.csls_scan import CslsScan
from curator.selection.knn import distinct_rows
from curator.selection.result import Selection
from curator.selection.rules import Rules
from curator.types import Progress, parts_of

__all__ = ["NewScan", "select_csls"]

# Makes what reads the pool for a way to score rows.
NewScan: TypeAlias = Callable[[RowScan], ScanRows]


def select_csls(
    pool: Pool,
    targets: Floats,
    rules: Rules,
    *,
    per_target: int = 4,
    sample: PoolSample | None = None,
    new_scan: NewScan | None = None,
    progress: Progress | None = None,
) -> Selection:
    """The pool's rows with the best density-corrected scores, at most `c` for one target row.

    c = max(1, ceil(per_target x budget / T)) for T distinct target rows: so many times the fair share. Rows are taken
    in order of score, then id; one whose target row has its `c` already is passed over.

    Args:
        pool: its parts.
        targets: float16 or float32 (n, d). Rows of zero length are left out, equal ones compared once.
        rules: the limits, of which one must be a budget.
        per_target: see above, at least 1. 1 spreads the choice evenly, more lets it follow the scores.
        sample: of this pool; None to draw it.
        new_scan: makes what reads the pool, such as `DistributedScan` by many workers; None for this process.
        progress: told of the rows read and chosen.

    Returns:
        the selection, in which `anchors` holds the lowest target row that gives the best similarity, and there are no
        rounds. Another budget gives another `c`, so the first B rows need not be the selection of budget B. One pass,
        more where filters refuse many rows; cost as `CslsScan.scan` says. Memory about 160 bytes x budget.

    Raises:
        InputError: an argument is out of its range, or pool and targets do not fit each other.
    """
    budget, row_filter = rules.require_budget(), rules.new_filter()
    if per_target < 1:
        raise InputError("at least 1 row for one target row must be allowed", field="per_target", value=per_target)
    unit, original = distinct_rows(targets)
    sample = sample or PoolSample.draw(pool)
    passes = PassProgress.of(progress)
    choice = CslsChoice(budget, max(1, -(-per_target * budget // len(unit))), original, row_filter)
    if len(sample.ids):
        check_rows(int(parts_of(sample.ids)[0]), sample.rows, unit.shape[1])
        row_scan = CslsScan.of(sample.space, unit, sample.rows, sample.ids)

        def scan_here(cursors: Cursors, k: int, total: int) -> TopK:
            return scan_pool(pool, row_scan, cursors, k, total, passes)

        choice.fill(new_scan(row_scan) if new_scan else scan_here, progress)
    return replace(choice.selection(), anchor_rows=targets.astype(np.float32))
