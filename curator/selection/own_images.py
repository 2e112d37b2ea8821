"""Which rows of a pool are the target's own images, and a filter that keeps them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, Pairs, SimilarityJoin, directions
from curator.selection.filters import Filter, Rejection
from curator.selection.near_duplicate_filters import ReadHashes, ReadRows, ask_once, hashes_of

__all__ = ["LOOKS_OWN", "OWN_IMAGE", "OWN_REASONS", "OwnImages", "target_copies"]

# The bytes of one of the target's images, by their hash.
OWN_IMAGE = "own_image"
# It looks the same as one of the target's images, and one of the two has no hash.
LOOKS_OWN = "looks_like_own"
OWN_REASONS = (OWN_IMAGE, LOOKS_OWN)
# Hashes are looked up from this similarity on.
NEAR = 0.999
# Where there are none, so near is the same image.
SAME = 0.9999


class OwnImages:
    """Tells which rows of the pool are images of the target.

    Memory: the target's rows twice, and 260 bytes for each.

    Args:
        target: its rows, float16 or float32 (n, d), unit rows.
        ids: int64 (n,), their ids.
        target_hashes: the hashes of target ids.
        read_rows: the pool's rows.
        hashes: the hashes of pool ids. They are read for rows that are very near to a target row only.
    """

    def __init__(
        self,
        target: Floats,
        ids: NDArray[np.int64],
        target_hashes: ReadHashes,
        read_rows: ReadRows,
        hashes: ReadHashes,
    ) -> None:
        self._target = SimilarityJoin(directions(target))
        self._target.add(target)
        self._ids = ids
        self._target_hashes = target_hashes
        self._read_rows = read_rows
        self._hashes = hashes

    def find(self, rows: NDArray[np.int64]) -> list[Rejection | None]:
        """For each row of the pool, int64 (n,), the rejection that names the target's image; None if it is not own.

        Of several equal images the nearest is named, of equally near ones the first.
        """
        rejections: list[Rejection | None] = [None] * len(rows)
        pairs = self._target.find(self._read_rows(rows), NEAR) if len(rows) else None
        if pairs is None or not len(pairs.query):
            return rejections
        own, by_hash = self._own(rows, pairs)
        # Equal bytes say more than nearness; the stable sort keeps the order of the target's rows.
        order = np.lexsort((-pairs.similarity[own], ~by_hash[own]))
        for place in np.flatnonzero(own)[order].tolist():
            query = int(pairs.query[place])
            if rejections[query] is None:
                reason = OWN_IMAGE if by_hash[place] else LOOKS_OWN
                match, similarity = int(self._ids[pairs.member[place]]), float(pairs.similarity[place])
                rejections[query] = Rejection(reason, "", match, similarity)
        return rejections

    def _own(self, rows: NDArray[np.int64], pairs: Pairs) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Of each pair, whether it shows one image, and whether the hashes say so."""
        query_hashes = hashes_of(self._hashes, rows[pairs.query])
        member_hashes = hashes_of(self._target_hashes, self._ids[pairs.member])
        both = list(zip(query_hashes, member_hashes, strict=True))
        by_hash = np.array([bool(query) and query == member for query, member in both], bool)
        unknown = np.array([not query or not member for query, member in both], bool)
        return by_hash | (unknown & (pairs.similarity >= np.float32(SAME))), by_hash

    def filter(self) -> Filter:
        """A filter that refuses the target's own images. A row is compared once."""
        return ask_once(self.find)


def target_copies(target: Floats, hashes: Sequence[str | None]) -> list[tuple[int, int]]:
    """The target's rows that show what an earlier row of it shows.

    Args:
        target: float16 or float32 (n, d), unit rows.
        hashes: of each row's image; None where one is not known.

    Returns:
        pairs (row, the first earlier row of the same hash, or else the first that is so near that it looks the same:
        another encoding of the same picture), by row. Cost n n / 2 bounds of `SimilarityJoin`.
    """
    join = SimilarityJoin(directions(target))
    join.add(target)
    pairs = join.find(target, SAME)
    earlier = pairs.member < pairs.query
    # Pairs are in order of query, then member: the first of each query is its first earlier row.
    queries, first = np.unique(pairs.query[earlier], return_index=True)
    looks = dict(zip(queries.tolist(), pairs.member[earlier][first].tolist(), strict=True))
    seen: dict[str, int] = {}
    copies = []
    for row, row_hash in enumerate(hashes):
        original = seen.setdefault(row_hash, row) if row_hash else row
        original = looks.get(row, row) if original == row else original
        if original != row:
            copies.append((row, original))
    return copies
