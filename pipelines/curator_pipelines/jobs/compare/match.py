"""Which samples of several selections are the same: by shard and key, else by the bytes of the image.

All of it is joins of columns: a million samples a side take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["Match", "Samples", "match_all"]

NOWHERE = -1


@dataclass(frozen=True)
class Samples:
    """The samples of one selection, in order of choice.

    Attributes:
        shard: string (n,), the public name of each sample's source.
        key: string (n,), each sample's key there.
        versions: source -> its state (size, version) when it was embedded.
        hashes: int64 (m,), places, to string (m,), the sha256 of these samples' images; null where it is not known.
    """

    shard: pa.ChunkedArray
    key: pa.ChunkedArray
    versions: dict[str, tuple[int, str]]
    hashes: Callable[[NDArray[np.int64]], pa.Array]

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class Match:
    """The samples that two selections share. Each is matched once, however often its bytes occur.

    Attributes:
        first: which selection is the first, from 0.
        second: which is the second.
        places: int64 (n,), for each sample of the first its place in the second; -1 where it is not there.
        by_name: how many are the same by shard and key.
        by_bytes: how many others by the bytes of their image.
        renamed: how many have one shard and key, and different bytes: the shard was replaced in between. They do not
            count as the same.
        unknown: of the first and of the second: how many have no match by name and no known sha256, so that they may
            be in the other under another name.
    """

    first: int
    second: int
    places: NDArray[np.int64]
    by_name: int
    by_bytes: int
    renamed: int
    unknown: tuple[int, int]

    def seen_from(self, side: int, count: int) -> NDArray[np.bool_]:
        """Which samples of one of the two are in the other.

        Args:
            side: `first` or `second`.
            count: how many samples it has.
        """
        return self.places >= 0 if side == self.first else _taken(self.places, count)


def match_all(sides: Sequence[Samples]) -> list[Match]:
    """Match every two of these selections.

    Returns:
        a match for each pair, in the order of `itertools.combinations`.

    Cost: a sort of each selection, and of each pair a merge of two; hashes are asked only of samples without a match
    by name, and of those in shards that were replaced.
    """
    names = [_numbered(codes) for codes in _codes([[side.shard, side.key] for side in sides])]
    pairs = list(combinations(range(len(sides)), 2))
    by_name = {pair: _joined(names[pair[0]], names[pair[1]]) for pair in pairs}
    doubtful = {(a, b): _in_replaced(sides[a], sides[b], by_name[a, b]) for a, b in pairs}
    hashes = _hash_codes(sides, by_name, doubtful)
    return [_match(a, b, by_name[a, b], doubtful[a, b], hashes[a], hashes[b]) for a, b in pairs]


def _match(
    first: int,
    second: int,
    by_name: NDArray[np.int64],
    doubtful: NDArray[np.int64],
    first_hashes: NDArray[np.int64],
    second_hashes: NDArray[np.int64],
) -> Match:
    places = by_name.copy()
    one, other = first_hashes[doubtful], second_hashes[by_name[doubtful]]
    renamed = doubtful[(one >= 0) & (other >= 0) & (one != other)]
    places[renamed] = NOWHERE
    named = int(np.count_nonzero(places >= 0))
    open_first = np.flatnonzero(places < 0)
    open_second = np.flatnonzero(~_taken(places, len(second_hashes)))
    joined = _joined(_numbered(first_hashes[open_first]), _numbered(second_hashes[open_second]))
    places[open_first] = np.where(joined >= 0, open_second[joined], NOWHERE) if len(open_second) else NOWHERE
    unknown = tuple(
        int(np.count_nonzero(codes[rows] < 0))
        for codes, rows in ((first_hashes, open_first), (second_hashes, open_second))
    )
    found = int(np.count_nonzero(joined >= 0))
    return Match(first, second, places, named, found, len(renamed), (unknown[0], unknown[1]))


def _taken(places: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which of so many samples are the match of one, bool (count,)."""
    is_taken = np.zeros(count, np.bool_)
    is_taken[places[places >= 0]] = True
    return is_taken


def _codes(sides: Sequence[Sequence[pa.ChunkedArray | pa.Array]]) -> list[NDArray[np.int64]]:
    """Numbers for the rows of some tables of one or two columns: the same where all columns are, -1 for a null."""
    total = np.zeros(sum(len(columns[0]) for columns in sides), np.int64)
    for columns in zip(*sides, strict=True):
        chunks = [chunk for column in columns for chunk in _chunks(column)]
        # Offsets of 64 bits: all keys together may be more than 2 GiB.
        whole = pa.chunked_array([chunk.cast(pa.large_string()) for chunk in chunks], pa.large_string())
        encoded = whole.combine_chunks().dictionary_encode()
        numbers = encoded.indices.fill_null(NOWHERE).to_numpy().astype(np.int64)
        # Below the square of the number of rows, for there are two columns at most.
        total = np.where((total < 0) | (numbers < 0), NOWHERE, total * max(len(encoded.dictionary), 1) + numbers)
    return np.split(total, np.cumsum([len(columns[0]) for columns in sides])[:-1])


def _chunks(column: pa.ChunkedArray | pa.Array) -> Sequence[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _numbered(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes int64 (n,) as pairs int64 (n, 2): the code, and how many rows before have it; so all pairs differ."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    counts = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    numbered = np.empty((len(codes), 2), np.int64)
    numbered[order, 0], numbered[order, 1] = ordered, counts
    return numbered


def _joined(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of the first its place in the second, -1 for none; codes below 0 are in nothing."""
    one, other = (np.flatnonzero(pairs[:, 0] >= 0) for pairs in (first, second))
    keys, others = first[one, 0], second[other, 0]
    step = 1 + max(int(pairs[rows, 1].max(initial=0)) for pairs, rows in ((first, one), (second, other)))
    if step > 1:
        # Small numbers first, so that the products cannot overflow.
        small = np.unique(np.concatenate([keys, others]), return_inverse=True)[1]
        keys, others = small[: len(keys)] * step + first[one, 1], small[len(keys) :] * step + second[other, 1]
    _, in_first, in_second = np.intersect1d(keys, others, assume_unique=True, return_indices=True)
    places = np.full(len(first), NOWHERE, np.int64)
    places[one[in_first]] = other[in_second]
    return places


def _in_replaced(first: Samples, second: Samples, by_name: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places in the first that match by name, in shards that were not in the same state for both."""
    replaced = [
        name for name, state in first.versions.items() if name in second.versions and second.versions[name] != state
    ]
    if not replaced:
        return np.empty(0, np.int64)
    is_in = pc.is_in(first.shard, pa.array(replaced, pa.string())).to_numpy()
    return np.flatnonzero(is_in & (by_name >= 0))


def _hash_codes(
    sides: Sequence[Samples],
    by_name: dict[tuple[int, int], NDArray[np.int64]],
    doubtful: dict[tuple[int, int], NDArray[np.int64]],
) -> list[NDArray[np.int64]]:
    """Of each selection int64 (n,), numbers for the sha256 of its samples: -1 where none is needed or known."""
    needed = [np.zeros(len(side), np.bool_) for side in sides]
    for (a, b), places in by_name.items():
        needed[a] |= places < 0
        needed[b] |= ~_taken(places, len(sides[b]))
        needed[a][doubtful[a, b]] = True
        needed[b][places[doubtful[a, b]]] = True
    rows = [np.flatnonzero(mask) for mask in needed]
    found = _codes([[side.hashes(places)] for side, places in zip(sides, rows, strict=True)])
    codes = [np.full(len(side), NOWHERE, np.int64) for side in sides]
    for own, places, numbers in zip(codes, rows, found, strict=True):
        own[places] = numbers
    return codes
