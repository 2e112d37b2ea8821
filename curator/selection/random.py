"""A uniform random choice: what any other selector has to beat."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from curator.search import PassProgress, Pool, priorities
from curator.selection.ordered_choice import Best, Cursor, Page, choose_in_order
from curator.selection.result import Selection
from curator.selection.rules import Rules
from curator.types import Progress, part_ids

__all__ = ["select_random"]


def select_random(pool: Pool, rules: Rules, *, seed: int, progress: Progress | None = None) -> Selection:
    """Rows of the pool, each with the same chance: those of the smallest (priority, id).

    A row's priority is a hash of the seed and its id: the choice depends on the seed and the ids alone.

    Args:
        pool: its parts; only their lengths are read.
        rules: the limits, of which one must be a budget.
        seed: of the hash.
        progress: told of the rows read and chosen.

    Returns:
        the selection: no rounds, scores NaN, anchors -1. Cost N per pass; memory budget x about 60 bytes.

    Raises:
        InputError: there is no budget.
    """
    read = partial(_read, pool, seed, PassProgress.of(progress))
    return choose_in_order(read, (np.uint64(0), -1), rules, progress)


def _read(pool: Pool, seed: int, progress: PassProgress, cursor: Cursor, best: Best) -> None:
    progress.begin()
    best.add(_page(np.empty(0, np.uint64), np.empty(0, np.int64)))
    for part, rows in pool.parts():
        ids = part_ids(part, len(rows))
        keys = priorities(ids, seed)
        kept = (keys > cursor[0]) | ((keys == cursor[0]) & (ids > cursor[1]))
        if best.last_key is not None:
            kept &= keys <= best.last_key
        best.add(_page(keys[kept], ids[kept]))
        best.seen += len(rows)
        progress({"rows": len(rows)})


def _page(keys: NDArray[np.uint64], ids: NDArray[np.int64]) -> Page:
    return Page(keys, ids, np.full(len(ids), -1, np.int32), np.full(len(ids), np.nan, np.float32))
