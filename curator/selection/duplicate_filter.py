"""A filter that compares rows with those chosen before them, many at once and ahead of the choice.

A row is compared when it is first heard of: with all rows chosen by then, and with all that wait as it does, for each
of them may be chosen first. Who keeps whom out is remembered with the waiting rows, so that choosing and skipping are
look-ups. With the rows asked about come some that will likely be asked about next: the comparison of many rows with all
chosen ones is a matrix product, that of one row a walk through memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, Pairs, SimilarityJoin
from curator.selection.filters import AHEAD_ROWS, Ahead, Filter, Rejection, nothing_ahead
from curator.selection.near_duplicate_filters import ReadHashes, ReadRows

__all__ = ["COPIES", "DUPLICATE", "NEAR_DUPLICATE", "no_duplicates"]

DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near_duplicate"
# Equal images have embeddings at least this near, wherever they were computed: among others no hash is looked up.
COPIES = 0.99
# Rows that wait, and those decided since the last time that they were removed.
HELD_ROWS = 8192
# Hashes that are remembered.
KNOWN_HASHES = 1 << 18


def no_duplicates(read_rows: ReadRows, hashes: ReadHashes, basis: NDArray[np.float32], threshold: float) -> Filter:
    """A filter that refuses rows that show what a chosen row shows: the first in order of choice stays.

    A row whose image has the hash of a chosen one is a `duplicate`, one at least `threshold` near to a chosen one a
    `near_duplicate`; hashes are looked up for pairs at least .99 near only. The rejection names the chosen row: one of
    the same hash, else the nearest; of several the one chosen first. Chains do not count: a row is compared with chosen
    rows only, never with those skipped.

    Args:
        read_rows: the pool's rows.
        hashes: of the pool's images.
        basis: from `directions`; changes the time, never the result.
        threshold: the least similarity that is too near, above 0 and at most 1.

    Returns:
        The filter, which remembers all rows that it accepts: see `SimilarityJoin` for the memory and the cost of
        comparing a row with them. Beside these it holds some 8,000 rows that wait.
    """
    return _NoDuplicates(read_rows, hashes, basis, threshold)


class _Row:
    """A row that waits.

    Attributes:
        id: its id.
        place: among the rows held; -1 once it was forgotten.
        match: the chosen row that keeps it out, as its rejection; None while it may be chosen.
        near: the rows that it keeps out once it is chosen, how near it is to each, and whether the hashes are equal.
    """

    __slots__ = ("id", "match", "near", "place")

    def __init__(self, number: int, place: int) -> None:
        self.id = number
        self.place = place
        self.match: Rejection | None = None
        self.near: list[tuple[_Row, float, bool]] = []

    def meet(self, chosen: int, similarity: float, same: bool) -> None:
        """Note a chosen row that keeps this one out; they come in order of choice."""
        known = self.match
        if known is None or (known.reason != DUPLICATE and (same or similarity > known.similarity)):
            self.match = Rejection(DUPLICATE if same else NEAR_DUPLICATE, "", chosen, similarity)


class _Near(NamedTuple):
    query: int
    member: int
    similarity: float
    same: bool


class _NoDuplicates:
    def __init__(self, read_rows: ReadRows, hashes: ReadHashes, basis: NDArray[np.float32], threshold: float) -> None:
        self._read_rows, self._hashes, self._basis, self._threshold = read_rows, hashes, basis, threshold
        self._chosen, self._chosen_ids = SimilarityJoin(basis), list[int]()
        # Chosen rows that were not added yet: they are with the next comparison.
        self._taken: list[_Row] = []
        self._waiting: dict[int, _Row] = {}
        self._known_hashes: dict[int, str | None] = {}
        # Every row that came in, in order; those that do not wait any more among them.
        self._held, self._held_rows = SimilarityJoin(basis), list[_Row]()
        # Of each row held, whether it waits, and whether a chosen row keeps it out: a byte each.
        self._waits, self._kept_out = bytearray(), bytearray()

    def __call__(self, rows: NDArray[np.int64], ahead: Ahead = nothing_ahead, /) -> tuple[int, Rejection] | None:
        for place, number in enumerate(rows.tolist()):
            if number not in self._waiting:
                self._enter(rows[place:].tolist(), ahead)
            row = self._waiting.pop(number)
            self._waits[row.place] = False
            if row.match is not None:
                return place, row.match
            for other, similarity, same in row.near:
                self._keep_out(other, number, similarity, same)
            self._taken.append(row)
        return None

    def _enter(self, wanted: list[int], ahead: Ahead) -> None:
        """Compare rows that were not heard of before, and some of those ahead."""
        self._add_taken()
        if len(self._held) > HELD_ROWS:
            self._forget(wanted)
        fresh = [number for number in wanted if number not in self._waiting]
        later = (number for number in ahead().tolist() if number not in self._waiting)
        fresh = list(dict.fromkeys([*fresh, *islice(later, AHEAD_ROWS)]))
        ids, first = np.array(fresh, np.int64), len(self._held)
        vectors, entering = self._read_rows(ids), [_Row(*row) for row in zip(fresh, count(first), strict=False)]
        self._hold(entering, vectors)
        limit = min(self._threshold, COPIES)
        for near in self._near(self._chosen.find(vectors, limit), fresh, self._chosen_ids):
            self._keep_out(entering[near.query], self._chosen_ids[near.member], near.similarity, near.same)
        self._waiting |= zip(fresh, entering, strict=True)
        self._compare_waiting(vectors, entering, limit)

    def _hold(self, rows: list[_Row], vectors: Floats) -> None:
        self._held.add(vectors)
        self._held_rows += rows
        self._waits += b"\1" * len(rows)
        self._kept_out += bytes(row.match is not None for row in rows)

    def _keep_out(self, row: _Row, chosen: int, similarity: float, same: bool) -> None:
        row.meet(chosen, similarity, same)
        if row.place >= 0:
            self._kept_out[row.place] = True

    def _add_taken(self) -> None:
        if self._taken:
            self._chosen.add(self._held.take(np.array([row.place for row in self._taken], np.int64)))
            self._chosen_ids += [row.id for row in self._taken]
            self._taken = []

    def _compare_waiting(self, vectors: Floats, entering: list[_Row], limit: float) -> None:
        """Note whom the entering rows keep out, and who keeps them out, among all that wait."""
        ids, held_ids = [row.id for row in entering], [row.id for row in self._held_rows]
        waits = np.array(self._waits, bool)
        # What a chosen row keeps out will never keep out another.
        may_come = waits & ~np.array(self._kept_out, bool)
        for near in self._near(self._held.find(vectors, limit, among=may_come), ids, held_ids):
            row, other = entering[near.query], self._held_rows[near.member]
            if row is not other:
                other.near.append((row, near.similarity, near.same))
        # A similarity is that of the later row to the chosen one: its last bit may be another the other way round.
        before = len(held_ids) - len(ids)
        waits[before:] = False
        keepers = np.flatnonzero(may_come[before:])
        pairs = self._held.find_to(vectors[keepers], limit, among=waits)
        for near in self._near(pairs, held_ids, [ids[place] for place in keepers.tolist()]):
            entering[keepers[near.member]].near.append((self._held_rows[near.query], near.similarity, near.same))

    def _near(self, pairs: Pairs, query_ids: Sequence[int], member_ids: Sequence[int]) -> Iterator[_Near]:
        """Pairs that are near enough, or copies."""
        same = np.zeros(len(pairs.query), bool)
        close = np.flatnonzero(pairs.similarity >= np.float32(COPIES))
        queries, members = _ids(query_ids, pairs.query[close]), _ids(member_ids, pairs.member[close])
        apart = queries != members
        close, queries, members = close[apart], queries[apart], members[apart]
        if len(close):
            hashes = self._hashes_of([*queries.tolist(), *members.tolist()])
            pairs_of_hashes = zip(hashes[: len(close)], hashes[len(close) :], strict=True)
            same[close] = [bool(query) and query == member for query, member in pairs_of_hashes]
        keep = np.flatnonzero(same | (pairs.similarity >= np.float32(self._threshold)))
        columns = (column[keep].tolist() for column in (*pairs, same))
        return (_Near(*near) for near in zip(*columns, strict=True))

    def _hashes_of(self, ids: list[int]) -> list[str | None]:
        """The hash of each id; a row is near to many others, one after another, and is looked up once."""
        if len(self._known_hashes) > KNOWN_HASHES:
            self._known_hashes = {}
        unknown = np.array(sorted(set(ids) - self._known_hashes.keys()), np.int64)
        if len(unknown):
            self._known_hashes |= zip(unknown.tolist(), self._hashes(unknown), strict=True)
        return [self._known_hashes[number] for number in ids]

    def _forget(self, wanted: list[int]) -> None:
        """Remove rows that do not wait any more, and those that wait the longest: they may come again as fresh ones."""
        kept = dict(islice(reversed(self._waiting.items()), HELD_ROWS // 2))
        kept |= {number: row for number in wanted if (row := self._waiting.get(number)) is not None}
        self._waiting = dict(reversed(kept.items()))
        rows = list(self._waiting.values())
        vectors = self._held.take(np.array([row.place for row in rows], np.int64))
        for row in self._held_rows:
            row.place = -1
        self._held, self._held_rows = SimilarityJoin(self._basis), []
        self._waits, self._kept_out = bytearray(), bytearray()
        for place, row in enumerate(rows):
            row.place = place
        self._hold(rows, vectors)


def _ids(numbers: Sequence[int], places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([numbers[place] for place in places.tolist()], np.int64)
