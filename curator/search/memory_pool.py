"""A pool whose rows are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curator.errors import InputError
from curator.search.pool import Floats

__all__ = ["MemoryPool", "as_rows"]


class MemoryPool:
    """A pool of one part in memory: the id of a row is its number.

    Args:
        vectors: numbers (n, d), one row a sample: an array, or what numpy makes one of. They need not have unit length.
            float16 and float32 are taken as they are, other numbers become float32.
        keys: a name for each row.

    Raises:
        InputError: the vectors are no table of numbers, or there are not as many keys as rows.

    >>> pool = MemoryPool([[1.0, 0.0], [0.0, 1.0]], keys=["red", "green"])
    >>> len(pool), pool.vectors.dtype
    (2, dtype('float32'))
    """

    def __init__(self, vectors: Any, keys: Sequence[str] | None = None) -> None:
        self.vectors: Floats = as_rows(vectors, "pool")
        self.keys = keys
        if keys is not None and len(keys) != len(self.vectors):
            raise InputError(f"there are {len(keys):,} keys for {len(self.vectors):,} rows", field="keys")

    def __len__(self) -> int:
        return len(self.vectors)

    def parts(self) -> Iterator[tuple[int, Floats]]:
        """The only part: see `curator.search.pool.Pool`."""
        yield 0, self.vectors


def as_rows(vectors: Any, field: str) -> Floats:
    """A float16 or float32 array (n, d) of anything that numpy takes for one.

    Raises:
        InputError: about the setting `field`, if it is no table of numbers.
    """
    try:
        rows = np.asarray(vectors)
        rows = rows if rows.dtype in (np.float16, np.float32) else rows.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"it is no table of numbers: {error}", field=field) from error
    if rows.ndim != 2:
        raise InputError(f"its shape is {rows.shape}; give one row a sample", field=field)
    return rows
