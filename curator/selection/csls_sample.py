"""The sample of a pool that csls measures its space and its density by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, Pool, check_finite, first_in_hash_order, priorities, row_norms
from curator.selection.half_whitened import HalfWhitened
from curator.selection.near_duplicate_filters import ReadRows
from curator.types import parts_of, rows_of

__all__ = ["Keep", "PoolSample"]

# Rows of the pool from which its space is computed, and of these the ones by which density is measured.
SPACE_ROWS = 4000
DENSITY_ROWS = 2500

# Gives the stored array of a name; where there is none, the one that it is handed a function for, and stores that.
Keep: TypeAlias = Callable[[str, Callable[[], NDArray[np.float32]]], NDArray[np.float32]]


@dataclass(frozen=True)
class PoolSample:
    """What csls knows of a pool, the same for every target.

    Attributes:
        space: of the first 4,000 rows in hash order.
        rows: float16 or float32 (S, d), the first 2,500 of them, by which density is measured.
        ids: int64 (S,), theirs, ascending.
    """

    space: HalfWhitened
    rows: Floats
    ids: NDArray[np.int64]

    @classmethod
    def draw(
        cls,
        pool: Pool,
        *,
        lengths: Mapping[int, int] | None = None,
        read_rows: ReadRows | None = None,
        keep: Keep | None = None,
    ) -> PoolSample:
        """Sample a pool.

        Args:
            pool: its parts.
            lengths: part -> its rows; None to ask each part.
            read_rows: gives the rows of ids; None to look through the parts.
            keep: stores the space under the name `space`, so that all later runs use the same; None to compute it.

        Raises:
            CuratorError: a sampled row holds NaN or infinity.
        """
        if lengths is None:
            lengths = {part: len(rows) for part, rows in pool.parts()}
        ids = first_in_hash_order(lengths, SPACE_ROWS)
        rows = read_rows(ids) if read_rows and len(ids) else _rows_at(pool, ids)
        for row in ids[~np.isfinite(row_norms(rows))][:1].tolist():
            check_finite(row, np.full(1, np.nan))

        def fit() -> NDArray[np.float32]:
            return HalfWhitened.fit(rows).to_array()

        space = HalfWhitened.from_array(keep("space", fit) if keep else fit())
        measures = np.sort(np.lexsort((ids, priorities(ids, 0)))[:DENSITY_ROWS])
        return cls(space, rows[measures], ids[measures])


def _rows_at(pool: Pool, ids: NDArray[np.int64]) -> Floats:
    """The rows of ascending ids, (n, d); (0, 1) for none."""
    part_of = parts_of(ids)
    by_part = {}
    for part, rows in pool.parts():
        start, end = np.searchsorted(part_of, [part, part + 1])
        if end > start:
            by_part[part] = rows[rows_of(ids[start:end])]
    return np.concatenate([by_part[part] for part in sorted(by_part)]) if by_part else np.empty((0, 1), np.float32)
