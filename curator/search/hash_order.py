"""A fixed random order of rows, from a hash of a seed and their ids: the same in any process, in any order of parts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from curator.types import part_ids

__all__ = ["first_in_hash_order", "priorities"]


def first_in_hash_order(lengths: Mapping[int, int], count: int, seed: int = 0) -> NDArray[np.int64]:
    """A random sample of a pool's rows: those that stand first in the order of (priority, id).

    Args:
        lengths: part -> its rows.
        count: how many rows; all where the pool has no more.
        seed: of the hash.

    Returns:
        int64 (at most count,), ids in ascending order. A row is in the sample or not whatever the order of the parts,
        and the sample of a larger count holds that of a smaller one. Cost one hash a row of the pool; memory of the
        largest part's ids and twice the sample.
    """
    kept = np.empty(0, np.int64)
    keys = np.empty(0, np.uint64)
    for part, rows in lengths.items():
        ids = part_ids(part, rows)
        new = priorities(ids, seed)
        if count and len(kept) == count:
            ahead = new <= keys[-1]
            ids, new = ids[ahead], new[ahead]
        ids, new = np.concatenate([kept, ids]), np.concatenate([keys, new])
        first = np.lexsort((ids, new))[:count]
        kept, keys = ids[first], new[first]
    return np.sort(kept)


def priorities(ids: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Where each row stands in the random order of a seed, smallest first.

    Args:
        ids: int64 (n,).
        seed: any integer; taken modulo 2^64.

    Returns:
        uint64 (n,): splitmix64(splitmix64(seed) xor id), all different (Steele, Lea, Flood: "Fast Splittable
        Pseudorandom Number Generators", OOPSLA 2014).
    """
    start = _splitmix64(np.array([seed % 2**64], np.uint64))
    return _splitmix64(ids.astype(np.uint64) ^ start)


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One output of the generator per uint64 (n,) state; a bijection."""
    mixed = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
