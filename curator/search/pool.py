"""What the selectors read: stored parts of unit rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.errors import CuratorError, InputError
from curator.types import join_id, split_id

__all__ = ["Floats", "Pool"]

# A float16 or float32 array.
Floats: TypeAlias = NDArray[Any]


class Pool(Protocol):
    """Embeddings in parts. Every pass over the pool calls `parts()` once and reads each part once."""

    def parts(self) -> Iterable[tuple[int, Floats]]:
        """Part numbers with their rows.

        Returns:
            pairs (part, rows): part >= 0, each part once; rows float16 or float32 (n, d), maybe a memory
            map, maybe empty. The same rows on every call. Row i of a part has the id `join_id(part, i)`.
        """
        ...


def first_id(part: int) -> int:
    """The id of a part's first row."""
    return join_id(part, 0)


def check_rows(part: int, rows: Floats, dim: int) -> None:
    """Refuse a part that cannot be scored against centroids of `dim` dimensions.

    Raises:
        InputError: the part's shape or dtype does not fit.
    """
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise InputError(
            f"pool part {part} has shape {rows.shape}, the target has {dim} dimensions",
            advice="embed both with the same encoder",
        )
    if rows.dtype not in (np.float16, np.float32):
        raise InputError(f"pool part {part} is {rows.dtype}", advice="store embeddings as float16 or float32")


def check_finite(first: int, norms: NDArray[np.float64]) -> None:
    """Refuse rows that no score can order.

    Args:
        first: id of the first row.
        norms: float64 (n,), lengths of the rows.

    Raises:
        CuratorError: a row holds NaN or infinity.
    """
    if not np.isfinite(norms).all():
        part, row = split_id(first + int(np.flatnonzero(~np.isfinite(norms))[0]))
        raise CuratorError(f"pool part {part}, row {row} holds NaN or infinity", advice="embed this part again")
