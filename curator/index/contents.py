"""What is known of an index without reading its rows: little for each list, whatever the number of pieces."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from curator.index.codec import Codec
from curator.index.pieces import LISTS, SAMPLE
from curator.index.quantiser import Quantiser
from curator.io import storage
from curator.search import Floats

__all__ = ["Contents", "MergedPiece", "list_sizes"]

T = TypeVar("T")
# The URL of a piece that has all rows of some lists, the first of them, and the list after the last.
MergedPiece: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True)
class Contents:
    """An index, opened, without its rows. Memory: a bit a list and piece, and 16 bytes a list.

    Attributes:
        quantiser: assigns rows to lists.
        codec: codes the rows; None where the index keeps them as they are.
        built: the URL of each piece as it was built; these tell of lists and sample.
        pieces: the URL of each piece that has rows.
        filled: for each of these, which lists may have rows in it, as `np.packbits` packs them.
        sizes: int64 (lists,), the number of rows in each list, over all pieces.
        cosines: float32 (lists,), the mean cosine of a list's rows and its centroid; 1 for an empty list.
        nearest: float32 (lists,), the least of these cosines; 1 for an empty list.
    """

    quantiser: Quantiser
    codec: Codec | None
    built: tuple[str, ...]
    pieces: tuple[str, ...]
    filled: tuple[NDArray[np.uint8], ...]
    sizes: NDArray[np.int64]
    cosines: NDArray[np.float32]
    nearest: NDArray[np.float32]

    @classmethod
    def read(
        cls,
        quantiser: Quantiser,
        codec: Codec | None,
        built: Sequence[str],
        merged: Sequence[MergedPiece] = (),
        moved: Collection[str] = (),
    ) -> Contents:
        """Read what the pieces tell of their lists, a few pieces at a time: one request each.

        Args:
            quantiser: of the index.
            codec: of the index.
            built: the URLs of the pieces as they were built.
            merged: the pieces into which rows were moved.
            moved: those that were built and have no rows any more.
        """
        lists = len(quantiser.centroids)
        sizes, sums, nearest = np.zeros(lists, np.int64), np.zeros(lists), np.ones(lists, np.float32)
        pieces, filled = [], []
        for url, (own_sizes, own_sums, own_nearest) in zip(built, _each(_read_lists, built), strict=True):
            sizes += own_sizes
            sums += own_sums
            np.minimum(nearest, own_nearest, out=nearest)
            if url not in moved:
                pieces.append(url)
                filled.append(np.packbits(own_sizes > 0))
        for url, first, last in merged:
            own = np.zeros(lists, bool)
            own[first:last] = sizes[first:last] > 0
            pieces.append(url)
            filled.append(np.packbits(own))
        cosines = np.where(sizes > 0, sums / np.maximum(sizes, 1), 1.0).astype(np.float32)
        return cls(quantiser, codec, tuple(built), tuple(pieces), tuple(filled), sizes, cosines, nearest)

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return int(self.sizes.sum())

    def with_rows_of(self, lists: NDArray[np.bool_]) -> list[str]:
        """The URLs of the pieces that hold rows of any of these lists; bool (lists,)."""
        packed = np.packbits(lists)
        return [url for url, filled in zip(self.pieces, self.filled, strict=True) if (filled & packed).any()]

    def sample(self) -> Iterator[tuple[Floats, NDArray[np.int32]]]:
        """The rows that were put aside, float16 (m, d), and the lists they are in, int32 (m,), of a piece at a time."""
        return _each(_read_sample, self.built)


def list_sizes(lists: int, built: Sequence[str]) -> NDArray[np.int64]:
    """The number of rows in each list, over some pieces as they were built; int64 (lists,)."""
    sizes = np.zeros(lists, np.int64)
    for own_sizes, _, _ in _each(_read_lists, built):
        sizes += own_sizes
    return sizes


def _each(read: Callable[[str], T], urls: Sequence[str]) -> Iterator[T]:
    """Read all of them in order, no more than are asked for side by side."""
    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        for start in range(0, len(urls), storage.REMOTE_THREADS):
            yield from threads.map(read, urls[start : start + storage.REMOTE_THREADS])


def _read_lists(url: str) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    with np.load(io.BytesIO(storage.read_bytes(storage.join(url, LISTS)))) as lists:
        return lists["sizes"], lists["cosines"], lists["nearest"]


def _read_sample(url: str) -> tuple[NDArray[np.float16], NDArray[np.int32]]:
    with np.load(io.BytesIO(storage.read_bytes(storage.join(url, SAMPLE)))) as sample:
        return sample["rows"], sample["lists"]
